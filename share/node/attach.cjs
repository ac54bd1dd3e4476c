'use strict';
// ganger's attach preload (`NODE_OPTIONS=--require attach.cjs`), for commands that come to Node by way of other programs:
// scripts, package managers, task runners. Each of these may be a Node program itself, so the channel to ganger is not
// in `NODE_CHANNEL_FD`, which the first of them would take, but on a high descriptor that all of them pass on. The
// program that serves takes it and does what Node does at the start of a cluster worker. `GANGER_ATTACH` has four
// numbers: the channel's descriptor, the worker's id, its stop signal, and ganger's pid.
//
// Who serves: a file of the project, from its first line; a program of a package (`node_modules`) only once it listens
// on a port or asks for `cluster`, for most of them are launchers. The descriptor behind the channel's holds one byte:
// whoever reads it has the channel, and nobody else will.
//
// Internals it leans on, there from Node 14 to 26: `child_process._forkChild`, `cluster._setupWorker`.

const given = process.env.GANGER_ATTACH;

if (given && require('worker_threads').isMainThread && process.argv[1]) {
  const [channel, id, signal, ganger] = given.split(':').map(Number);
  const net = require('net');
  const dgram = require('dgram');
  const Module = require('module');
  const real = { listen: net.Server.prototype.listen, bind: dgram.Socket.prototype.bind, load: Module._load };
  let hooks = null;
  let attached = false;

  const attach = () => {
    if (attached) return;
    attached = true;
    net.Server.prototype.listen = real.listen;
    dgram.Socket.prototype.bind = real.bind;
    Module._load = real.load;
    if (hooks) hooks.deregister();
    // What this program starts is not the worker.
    delete process.env.GANGER_ATTACH;
    if (taken(channel + 1)) return;
    process.env.NODE_UNIQUE_ID = String(id);
    require('child_process')._forkChild(channel, 'json');
    const cluster = require('cluster');
    if (cluster._setupWorker) cluster._setupWorker();
    else console.error('ganger: "cluster" was loaded before this could become a worker: name its own command');
    delete process.env.NODE_UNIQUE_ID;
    if (process.ppid !== ganger) leaveAfterDrain(signal);
    // It looks for a worker when it is loaded.
    const drain = process.env.GANGER_DRAIN;
    if (drain) require(drain);
  };

  if (isOfAPackage(process.argv[1])) {
    net.Server.prototype.listen = function (...args) {
      if (isForOthers(args[0])) attach();
      return real.listen.apply(this, args);
    };
    dgram.Socket.prototype.bind = function (...args) {
      if (isForOthers(args[0])) attach();
      return real.bind.apply(this, args);
    };
    Module._load = function (request, ...rest) {
      if (isCluster(request)) attach();
      return real.load.call(this, request, ...rest);
    };
    // Modules of the other kind, from Node 22.15 on.
    hooks = Module.registerHooks && Module.registerHooks({
      resolve(specifier, context, next) {
        if (isCluster(specifier)) attach();
        return next(specifier, context);
      },
    });
  } else {
    attach();
  }
}

function isCluster(name) {
  return name === 'cluster' || name === 'node:cluster';
}

// What ganger holds for an app has a port, which is known to others. Launchers have private sockets: with a path, or
// with any free port (0, or none).
function isForOthers(first) {
  const { port, fd } = typeof first === 'object' && first !== null ? first : { port: first };
  return Number(port) > 0 || typeof fd === 'number';
}

// Yarn keeps itself in `.yarn/releases`, Corepack what it fetched in `corepack`.
function isOfAPackage(script) {
  let file = script;
  try {
    file = require('fs').realpathSync(script);
  } catch {
    // node may add an extension; the name will do.
  }
  return /[\\/](node_modules|\.yarn|corepack|pnpm|yarn)[\\/]/.test(file);
}

function taken(token) {
  try {
    return require('fs').readSync(token, Buffer.alloc(1), 0, 1, null) !== 1;
  } catch {
    return true;
  }
}

// The programs before this one hold the channel as well, so ganger does not see its end when the last connection is closed.
// A worker that stays after that, for timers or database connections, gets here the signal that ganger would send it.
function leaveAfterDrain(signal) {
  process.once('disconnect', () => {
    setTimeout(() => process.kill(process.pid, signal), 500).unref();
  });
}
