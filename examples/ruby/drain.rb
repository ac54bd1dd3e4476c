# frozen_string_literal: true

require 'socket'

# A drain that loses no request, for any threaded Rack server.
#
# On SIGTERM puma closes connections that a request is just under way on, and those that it has accepted and not
# read. Here the worker only accepts no more, says `Connection: close` in each answer, and leaves a moment later.
class Drain
  GRACE = 1.0 # seconds in which clients may still use a connection that they think is open
  LISTENER = 3 # the first of LISTEN_FDS

  def initialize(app)
    @app = app
    # The server's own handler is there by now, and does the rest.
    @stop = trap('TERM') { leave }
  end

  def call(env)
    status, headers, body = @app.call(env)
    headers = headers.merge('connection' => 'close') if @leaving
    [status, headers, body]
  end

  private

  def leave
    return if @leaving

    @leaving = true
    Thread.new do
      # The other workers have the socket too, so it cannot be shut down: a listener that nobody knows takes its place.
      IO.for_fd(LISTENER, autoclose: false).reopen(TCPServer.new('127.0.0.1', 0))
      sleep GRACE
      trap('TERM', @stop)
      Process.kill('TERM', Process.pid)
    end
  end
end
