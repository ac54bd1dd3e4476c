# What goes where. Included by the Makefile; works on its own as well: make -f packaging/install.mk install
#
#   make install [DESTDIR=/staging/root] [PREFIX=/usr/local]
#   make uninstall, with the same DESTDIR and PREFIX
#
# packaging/root/ mirrors the tree it is copied to, with PREFIX in the place of /usr.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install
# cargo's profile; `dev` is built in a fraction of the time, for tests.
PROFILE ?= release

built_dir   := $(or $(CARGO_TARGET_DIR),target)/$(patsubst dev,debug,$(PROFILE))
ganger_bin  := $(built_dir)/ganger
hello_bin   := $(built_dir)/examples/hello
man_dir     := $(or $(CARGO_TARGET_DIR),target)/man

bindir      := $(PREFIX)/bin
libexecdir  := $(PREFIX)/lib/ganger
datadir     := $(PREFIX)/share
examplesdir := $(datadir)/doc/ganger/examples
# dbus-daemon reads no policy below /usr/local: an administrator's goes to /etc.
dbusdir     := $(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/dbus-1
# Neither does polkit on every system, and it has no other place.
polkitdir   := /usr/share/polkit-1

man_pages  := $(patsubst man/%.scd,$(man_dir)/%,$(wildcard man/*.scd))
root_files := $(shell cd packaging/root 2>/dev/null && find . -type f | sed 's|^\./||' | LC_ALL=C sort)
# Where a file of packaging/root/ goes.
place = $(patsubst usr/share/polkit-1/%,$(polkitdir)/%,$(filter usr/share/polkit-1/%,$1))$(patsubst \
	usr/share/dbus-1/%,$(dbusdir)/%,$(filter usr/share/dbus-1/%,$1))$(patsubst \
	usr/%,$(PREFIX)/%,$(filter-out usr/share/polkit-1/% usr/share/dbus-1/%,$(filter usr/%,$1)))$(patsubst \
	%,/%,$(filter-out usr/%,$1))
page_place = $(datadir)/man/man$(subst .,,$(suffix $1))/$(notdir $1)

example_files := $(shell find examples units -type f ! -name '*.rs' ! -name '*.sh' ! -name '.*' ! -name '*.pyc' | LC_ALL=C sort)
# The unit pair's files stand beside the workers' folders; their paths follow PREFIX.
example_place = $(examplesdir)/$(patsubst examples/%,%,$(filter examples/%,$1))$(patsubst \
	units/%,myapp/%,$(filter units/%,$1))

bash_completion := $(datadir)/bash-completion/completions/ganger
zsh_completion  := $(datadir)/zsh/vendor-completions/_ganger
fish_completion := $(datadir)/fish/vendor_completions.d/ganger.fish

.PHONY: install uninstall man

# Only what is missing is built, so that `sudo make install` after `make` needs no toolchain.
$(ganger_bin) $(hello_bin):
	$(CARGO) build --profile $(PROFILE) --locked --bin ganger --example hello

$(man_dir)/%: man/%.scd
	@mkdir -p $(@D)
	scdoc <$< >$@.new && mv $@.new $@

man: $(man_pages)

install: $(ganger_bin) $(hello_bin) $(if $(shell command -v scdoc),man)
	$(INSTALL) -D -m 755 $(ganger_bin) $(DESTDIR)$(bindir)/ganger
	$(INSTALL) -D -m 755 $(hello_bin) $(DESTDIR)$(libexecdir)/hello
	$(INSTALL) -d -m 755 $(DESTDIR)/etc/ganger
	$(foreach file,$(root_files),$(INSTALL) -D -m $(if $(filter %-generators/%,$(file)),755,644) \
		packaging/root/$(file) $(DESTDIR)$(call place,$(file))$(newline))
	$(if $(shell command -v scdoc),$(foreach page,$(man_pages),$(INSTALL) -D -m 644 $(page) \
		$(DESTDIR)$(call page_place,$(page))$(newline)),@echo "scdoc is not installed: no man pages")
	$(foreach file,$(example_files),$(INSTALL) -D -m 644 $(file) $(DESTDIR)$(call example_place,$(file))$(newline))
	sed -i 's|/usr/bin/ganger|$(bindir)/ganger|; s|/usr/lib/ganger/|$(libexecdir)/|; s|/usr/share/doc/|$(datadir)/doc/|' \
		$(DESTDIR)$(examplesdir)/myapp/*
	$(call completion,bash,$(bash_completion))
	$(call completion,zsh,$(zsh_completion))
	$(call completion,fish,$(fish_completion))

uninstall:
	rm -f $(DESTDIR)$(bindir)/ganger $(DESTDIR)$(libexecdir)/hello
	rm -f $(foreach file,$(root_files),$(DESTDIR)$(call place,$(file)))
	rm -f $(foreach page,$(man_pages),$(DESTDIR)$(call page_place,$(page)))
	rm -f $(DESTDIR)$(bash_completion) $(DESTDIR)$(zsh_completion) $(DESTDIR)$(fish_completion)
	rm -rf $(DESTDIR)$(examplesdir)
	-rmdir $(DESTDIR)$(libexecdir) $(DESTDIR)$(datadir)/doc/ganger $(DESTDIR)/etc/ganger 2>/dev/null

# The program writes its own completions; one that has none for a shell is not an error.
completion = @if $(ganger_bin) completions $1 >$(man_dir).completion 2>/dev/null && test -s $(man_dir).completion; then \
	$(INSTALL) -D -m 644 $(man_dir).completion $(DESTDIR)$2; fi; rm -f $(man_dir).completion

define newline


endef
