//! The Debian package, installed with `dpkg -i` and purged: what it brings works as it is, and goes as it came.

use crate::site;
use harness::{Host, both, ganger};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The package, of this build's own programs: what is packed is the question here, not how it is optimized.
static DEB: LazyLock<PathBuf> = LazyLock::new(|| {
    let profile = ganger().parent().expect("a profile's folder").to_owned();
    let target = profile.parent().expect("a target folder");
    let out = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb"))
        .env("PROFILE", if profile.ends_with("release") { "release" } else { "dev" })
        .env("CARGO_TARGET_DIR", target)
        .env("DEB_DIR", target.join("deb-for-tests"))
        .env("DEB_COMPRESSION", "none")
        .output()
        .expect("packaging/deb starts");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    PathBuf::from(said.lines().last().expect("the path of the package"))
});

/// Puts the package in; the harness's own ganger makes room first.
fn install(host: &Host) {
    host.put_file("/root/ganger.deb", DEB.as_path());
    host.ok("umount /usr/bin/ganger && rm -f /usr/bin/ganger");
    let before = files(host);
    host.put("/root/before", before);
    let out = host.run("dpkg -i /root/ganger.deb");
    assert_eq!(out.code, 0, "{}: {out}", host.title());
}

/// Every path that a package could leave behind.
fn files(host: &Host) -> String {
    host.ok("find /etc /usr /opt /srv /var /run/ganger \\( -path /var/lib/dpkg -o -path /var/log -o -path /var/lib/systemd \
             -o -path /var/cache -o -path /var/tmp \\) -prune -o -print 2>/dev/null | LC_ALL=C sort || :")
}

#[test]
fn the_package_runs_the_example_pair_as_its_readme_tells() {
    for host in both("the package") {
        install(&host);
        host.ok("cd /usr/share/doc/ganger/examples/myapp && cp myapp.toml /etc/ganger/ \
                 && cp myapp.socket myapp.service /etc/systemd/system/ && systemctl daemon-reload");
        let verified = host.run("systemd-analyze verify --man=no /etc/systemd/system/myapp.service");
        assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{}", host.title());
        let said = site::first_request(&host);
        assert!(said.starts_with("hello from Rust"), "{said}");
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        host.ok("systemctl reload myapp.service");
        assert_eq!(site::status(&host)["generation"], 2);

        // The same package once more, as an upgrade: what runs goes on.
        let (workers, supervisor) = (site::workers(&host), host.property("myapp.service", "MainPID"));
        host.ok("dpkg -i /root/ganger.deb");
        assert_eq!(site::workers(&host), workers, "{}", host.title());
        assert_eq!(host.property("myapp.service", "MainPID"), supervisor);
        host.ok("ganger stop myapp");
        site::assert_nothing_left(&host);
    }
}

#[test]
fn the_package_brings_manual_completions_and_policies() {
    for host in both("what the package brings") {
        install(&host);
        for page in ["ganger.1", "ganger.toml.5", "org.ganger1.5", "ganger-worker.7"] {
            let section = page.rsplit('.').next().expect("a section");
            let first = host.ok(&format!("zcat /usr/share/man/man{section}/{page}.gz | head -n 5"));
            assert!(first.contains(".TH") || first.contains("scdoc"), "{}: {page}: {first}", host.title());
        }
        for completions in [
            "/usr/share/bash-completion/completions/ganger",
            "/usr/share/zsh/vendor-completions/_ganger",
            "/usr/share/fish/vendor_completions.d/ganger.fish",
        ] {
            let lines = host.ok(&format!("grep -c ganger {completions}"));
            assert_ne!(lines, "0", "{}: {completions}", host.title());
        }
        host.ok("bash -n /usr/share/bash-completion/completions/ganger");
        host.ok("test -d /run/ganger/dbus-1.d && test -d /etc/ganger");
        // polkit knows the actions without being told to look.
        host.wait_for("polkit knows the actions", || {
            host.run("pkaction --action-id org.ganger1.reload").code == 0
        });
        assert!(host.ok("ganger --version").starts_with("ganger "));
    }
}

#[test]
fn a_purge_of_the_package_leaves_nothing() {
    for host in both("purge") {
        install(&host);
        host.ok("dpkg -P ganger");
        let (before, after) = (host.ok("cat /root/before"), files(&host));
        let before: BTreeSet<&str> = before.lines().collect();
        let left: Vec<&str> = after.lines().filter(|path| !before.contains(path)).collect();
        assert!(left.is_empty(), "{}: {left:?}", host.title());
        assert_ne!(host.run("dpkg -s ganger").code, 0);
    }
}
