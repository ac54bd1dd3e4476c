# frozen_string_literal: true

# Listen on the inherited socket (LISTEN_FDS) and on nothing else.
bind_to_activated_sockets 'only'
threads 1, 4
# No `workers` here: the pool is ganger's.
