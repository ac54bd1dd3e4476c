# frozen_string_literal: true

# Listen on the inherited socket (LISTEN_FDS) and on nothing else.
bind_to_activated_sockets 'only'
threads 1, 4 # a busy keep-alive connection keeps its thread: have more than there are of those
# No `workers` here: the pool is ganger's.
