# Reads the Vagrantfile without Vagrant and prints each machine with its scripts: `ruby vagrant/check.rb`.
# Fails where the Vagrantfile is no sound Ruby, or leads to a script that is not there.

# Takes every setting, and notes the machines and the scripts.
class Recorder
  def initialize(machine = nil)
    @machine = machine
  end

  def define(name)
    yield Recorder.new(name)
  end

  def provision(_kind, **options)
    path = options[:path] or return
    abort "#{@machine}: no script #{path}" unless File.executable?(File.join(__dir__, path))
    environment = options.fetch(:env).sort.map { |name, value| "#{name}=#{value}" }
    puts [@machine, path, *environment].join(" ")
  end

  def method_missing(_name, *_arguments, **_options)
    yield self if block_given?
    self
  end

  def respond_to_missing?(_name, _private = false)
    true
  end
end

module Vagrant
  def self.configure(_version)
    yield Recorder.new
  end
end

load File.join(__dir__, "Vagrantfile")
