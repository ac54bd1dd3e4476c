# frozen_string_literal: true

# A bare Rack app for puma.
#
#     ganger run examples/ruby/hello-ruby.toml

require_relative 'drain'
use Drain

run lambda { |_env|
  body = "hello from Ruby, worker #{ENV.fetch('GANGER_WORKER', '-')}, pid #{Process.pid}\n"
  [200, { 'content-type' => 'text/plain' }, [body]]
}
