'use strict';
// ganger's attach preload (`NODE_OPTIONS=--require attach.cjs`), for commands that come to Node by way of other programs:
// scripts, package managers, task runners. Each of these may be a Node program itself, so the channel to ganger is not
// in `NODE_CHANNEL_FD`, which the first of them would take, but on a high descriptor that all of them pass on. The
// program that serves takes it and does what Node does at the start of a cluster worker. `GANGER_ATTACH` has four
// numbers: the channel's descriptor, the worker's id, its stop signal, and ganger's pid.
//
// Who serves: a file of the project, from its first line; a program of a package (`node_modules`) only once it listens
// on a port or asks for `cluster`, for most of them are launchers. The descriptor behind the channel's is a semaphore of
// one (eventfd): whoever takes it has the channel, and nobody else will. A program that ends without having listened
// (`node migrate.js && node server.js`) gives it back, and the channel does not keep it from ending.
//
// Internals it leans on, there from Node 14 to 26: `child_process._forkChild`, `cluster._setupWorker`.

const fs = require('fs');

const given = process.env.GANGER_ATTACH;

if (given && require('worker_threads').isMainThread && process.argv[1]) {
  const [channel, id, signal, ganger] = given.split(':').map(Number);
  const net = require('net');
  const dgram = require('dgram');
  const Module = require('module');
  const real = { listen: net.Server.prototype.listen, bind: dgram.Socket.prototype.bind, load: Module._load };
  const ofAPackage = isOfAPackage(process.argv[1]);
  const inspect = ofAPackage ? lendInspector() : () => {};
  let hooks = null;
  let attached = false;
  let stays = () => {};

  const attach = () => {
    if (attached) return;
    attached = true;
    if (ofAPackage) Module._load = real.load;
    if (hooks) hooks.deregister();
    // What this program starts is not the worker.
    delete process.env.GANGER_ATTACH;
    const token = take(channel + 1);
    if (!token) return;
    const giveBack = () => give(channel + 1, token);
    process.once('exit', giveBack);
    inspect();
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
    // All listeners so far are Node's and these files'.
    process.channel.unref();
    const wait = (name) => name === 'message' && process.channel && process.channel.ref();
    process.on('newListener', wait);
    if (cluster.worker) cluster.worker.on('newListener', wait);
    stays = () => {
      process.removeListener('exit', giveBack);
      if (process.channel) process.channel.ref();
    };
  };

  const serves = (args) => {
    if (ofAPackage && !attached && !isForOthers(args[0])) return;
    net.Server.prototype.listen = real.listen;
    dgram.Socket.prototype.bind = real.bind;
    attach();
    stays();
  };
  net.Server.prototype.listen = function (...args) {
    serves(args);
    return real.listen.apply(this, args);
  };
  dgram.Socket.prototype.bind = function (...args) {
    // A client's, which Node binds when it sends.
    const isOwn = args[0] && args[0].exclusive && !args[0].port;
    if (!isOwn) serves(args);
    return real.bind.apply(this, args);
  };

  if (ofAPackage) {
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

// `NODE_OPTIONS=--inspect` is for the worker, which cannot have the port while its launcher has it. Gives the way to
// take it back.
function lendInspector() {
  // A debugger that Node has waited for must not lose it.
  if (/--inspect-(brk|wait)/.test([process.env.NODE_OPTIONS, ...process.execArgv].join(' '))) return () => {};
  let inspector;
  let at;
  try {
    inspector = require('inspector');
    at = inspector.url() && new URL(inspector.url());
  } catch {
    // This Node was built without one.
  }
  if (!at) return () => {};
  inspector.close();
  return () => inspector.open(Number(at.port), at.hostname.replace(/[[\]]/g, ''));
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
    file = fs.realpathSync(script);
  } catch {
    // node may add an extension; the name will do.
  }
  return /[\\/](node_modules|\.yarn|corepack|pnpm|yarn)[\\/]/.test(file);
}

// What was read; nothing when another program has it.
function take(semaphore) {
  const token = Buffer.alloc(8);
  try {
    return fs.readSync(semaphore, token, 0, 8, null) === 8 && token;
  } catch {
    return false;
  }
}

function give(semaphore, token) {
  try {
    fs.writeSync(semaphore, token);
  } catch {
    // The program closed it: there is no way to a next one.
  }
}

// The programs before this one hold the channel as well, so ganger does not see its end when the last connection is closed.
// A worker that stays after that, for timers or database connections, gets here the signal that ganger would send it.
function leaveAfterDrain(signal) {
  process.once('disconnect', () => {
    setTimeout(() => process.kill(process.pid, signal), 500).unref();
  });
}
