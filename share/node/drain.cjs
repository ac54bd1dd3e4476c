'use strict';
// ganger's preload (`node --require drain.cjs app.js`): it acts in cluster workers only. It makes the way of connections
// shorter that ganger hands over (takeAtOnce), and the worker drain well once it is told to leave. `drain = false`
// under `[node]` leaves it out.
//
// Node answers its primary's `disconnect` by closing the servers. Clients that keep connections alive then lose
// requests: a request crosses the close of an idle connection on the wire (Node 20 and later), or a busy client
// is served for ever and the worker never leaves. HTTP has the cure: from now on every response says
// `Connection: close`, so that the client itself goes elsewhere. An idle connection may carry one more request for as
// long as its server has promised to keep it (`keepAliveTimeout`); then it is closed, as it would have been anyway.
//
// HTTP/2 has a word of its own for that, GOAWAY: it is said at once.
//
// Internals it leans on, there from Node 14 to 26: `internalMessage`, `cluster._getServer`, `_storeHeader`,
// `_getActiveHandles`, `parser` and `_httpMessage` of sockets, `http.server.connections` of servers; `kChannelHandle`,
// its `onread`, `pendingHandle` and `buffering`. Where one is missing the worker drains, or takes connections, as
// without this file.

const cluster = require('cluster');

const LOOK_MS = 250;
// Who has heard no signal by then gets none: ganger is gone.
const SIGNAL_MS = 10000;
const HANDLER_MS = 250;

if (cluster.isWorker) {
  // What the user has set, else what ganger allows when it asks for the drain: a second when the whole pool ends. An app
  // that leaves by itself has less than `stop.timeout`.
  const wishedMs = process.env.GANGER_IDLE_GRACE_MS;
  let allowedMs = 20000;
  const sessions = rememberSessions();
  let draining = false;

  takeAtOnce();

  const drain = (signal) => {
    if (draining) return;
    draining = true;
    stayFor(signal);
    const http = require('http');
    const https = require('https');
    keepIdleOnClose([http.Server, https.Server]);
    sayCloseIn(http.ServerResponse.prototype);
    const closed = letCloseTwice(require('net').Server.prototype);
    sayGoAway(sessions, () => allowedMs / 4);
    disconnectAfter(closed);
    const patienceMs = (server) => (wishedMs ? Number(wishedMs) : Math.min(allowedMs, promisedMs(server)));
    const quietFor = quietConnections(closed);
    const look = () => {
      const quiet = quietFor();
      const due = [...quiet.keys()].filter((socket) => quiet.get(socket) >= patienceMs(socket.server));
      closeOneByOne(due, () => allowedMs / 4, () => setTimeout(look, LOOK_MS).unref());
    };
    look();
  };

  // Before Node's own listener, which closes the servers. `leave` comes before a stop message of the app's, whose
  // listener may close them.
  process.prependListener('internalMessage', (message) => {
    if (!message) return;
    if (message.cmd === 'NODE_CLUSTER' && message.act === 'disconnect') drain();
    if (message.cmd === 'NODE_GANGER' && message.act === 'leave') {
      // A second one comes when the whole pool ends meanwhile.
      allowedMs = draining ? Math.min(allowedMs, message.idle) : message.idle;
      drain(message.signal);
    }
  });

  // The app may leave by itself.
  const { disconnect } = cluster.worker;
  cluster.worker.disconnect = function () {
    drain();
    return disconnect.call(this);
  };
}

// In round-robin a connection comes as one line and its descriptor, and Node answers it twice: that the descriptor came
// (NODE_HANDLE_ACK), and, before it reads from it, that a server took it. Here the line is known by its letters, without
// two rounds of parsing and queueing, and one answer stands for both: its number has a plus in front. Whatever is not
// exactly such a line goes Node's own way.
//
// So does everything while the app waits for a word about a handle that it sends (`_handleQueue`). The second answer
// waits with it then and the first does not, and ganger knows by their order which connection a NODE_HANDLE_NACK is for.
function takeAtOnce() {
  const symbol = Object.getOwnPropertySymbols(process).find((it) => it.description === 'kChannelHandle');
  const channel = symbol && process[symbol];
  if (!channel || typeof channel.onread !== 'function') return;
  const { onread } = channel;
  const line = /^{"cmd":"NODE_HANDLE","type":"net\.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"(\w+)","seq":(\d+)}}\n$/;
  channel.onread = function (bytes) {
    const handle = this.pendingHandle;
    const plain = handle && bytes && bytes.byteLength < 200 && this.buffering === false;
    const found = plain && process.connected && !process._handleQueue && line.exec(Buffer.from(bytes).latin1Slice());
    if (!found) return onread.apply(this, arguments);
    this.pendingHandle = null;
    process.emit('internalMessage', { cmd: 'NODE_CLUSTER', act: 'newconn', key: found[1], seq: `+${found[2]}` }, handle);
  };
}

// The app may have a handler for its stop signal, which ganger sends half a second after the disconnect. Nothing may be
// left by then that keeps the process: it stays for its signal.
function stayFor(number) {
  const { signals } = require('os').constants;
  const signal = Object.keys(signals).find((name) => signals[name] === number);
  if (!signal) return;
  let came = false;
  let stay;
  const hear = () => {
    came = true;
    clearTimeout(stay);
    // What a handler begins keeps the process, as a rule; a signal that it raises again does not.
    if (stay) setTimeout(() => {}, HANDLER_MS);
    // Handlers that count each other (signal-exit) come next, and must not see this one.
    process.removeListener(signal, hear);
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const listen = () => process.listenerCount(signal) > 0 && process.prependListener(signal, hear);
  if (!listen()) {
    // PM2's apps have one for SIGINT, and ganger should be told.
    const other = ['SIGINT', 'SIGTERM'].find((name) => process.listenerCount(name) > 0);
    const hint = { cmd: 'NODE_GANGER', act: 'otherHandler', signal: other };
    if (other && process.connected) process.send(hint, undefined, undefined, () => {});
  }
  process.once('disconnect', () => {
    if (came) return;
    process.removeListener(signal, hear);
    if (listen()) stay = setTimeout(() => process.removeListener(signal, hear), SIGNAL_MS);
  });
}

// Headers are written in one place, for requests in flight and to come.
function sayCloseIn(prototype) {
  const { _storeHeader } = prototype;
  if (typeof _storeHeader !== 'function') return;
  prototype._storeHeader = function (firstLine, headers) {
    if (this.statusCode === 101) return _storeHeader.call(this, firstLine, headers);
    this.shouldKeepAlive = false;
    this._removedConnection = false;
    // What setHeader() has set is what `headers` is then; else it is what the app gave to writeHead().
    if (this.hasHeader('connection')) this.setHeader('Connection', 'close');
    else headers = withoutConnection(headers);
    return _storeHeader.call(this, firstLine, headers);
  };
}

// Headers in one of writeHead()'s forms: an object, a list of pairs, a flat list.
function withoutConnection(headers) {
  const named = (name) => String(name).toLowerCase() === 'connection';
  if (!headers || typeof headers !== 'object') return headers;
  if (!Array.isArray(headers)) {
    if (!Object.keys(headers).some(named)) return headers;
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !named(name)));
  }
  if (Array.isArray(headers[0])) return headers.filter(([name]) => !named(name));
  return headers.filter((_, at) => !named(headers[at - (at % 2)]));
}

// Since Node 19 closing a server closes its idle connections at once: not any more.
function keepIdleOnClose(classes) {
  for (const { prototype } of classes) if (prototype.closeIdleConnections) prototype.closeIdleConnections = () => {};
}

// The handler that an app has for its stop signal often begins with `server.close(callback)`. It comes when Node has
// closed the server already: that is what the app wanted, and no error. Returns the servers that are closed.
function letCloseTwice(prototype) {
  const { close } = prototype;
  const closed = new Map(); // server → whether its connections are gone, too
  prototype.close = function (callback) {
    if (!this._handle && closed.has(this)) {
      if (typeof callback === 'function') {
        if (closed.get(this)) process.nextTick(() => callback.call(this));
        else this.once('close', () => callback.call(this));
      }
      return this;
    }
    if (this._handle) {
      closed.set(this, false);
      this.once('close', () => closed.set(this, true));
    }
    return close.call(this, callback);
  };
  return closed;
}

// Node disconnects from its primary when all servers that it closed have lost their connections, and ganger takes that
// for the end. An app that has closed its servers itself is not waited for: it is here.
function disconnectAfter(closed) {
  const { disconnect } = process;
  process.disconnect = function () {
    const open = [...closed.keys()].find((server) => !closed.get(server));
    if (open) open.once('close', () => process.disconnect());
    else if (process.connected) disconnect.call(process);
  };
}

function handles() {
  return typeof process._getActiveHandles === 'function' ? process._getActiveHandles().filter(Boolean) : [];
}

// The sockets under TLS of a server, which are no handles of their own. Node 18 and later.
function secured(server) {
  const symbol = Object.getOwnPropertySymbols(server).find((it) => it.description === 'http.server.connections');
  const list = symbol && server[symbol];
  return list && list.all ? list.all().map((parser) => parser.socket).filter(Boolean) : [];
}

// `http2` hides its classes.
function isHttp2(server) {
  return Boolean(server) && ['Http2Server', 'Http2SecureServer'].includes(server.constructor.name);
}

// Whether the sockets of a server are bare for as long as they say nothing: those under TLS, and those of HTTP/2.
function isBareAtFirst(server) {
  return Boolean(server) && (server instanceof require('https').Server || isHttp2(server));
}

// The sessions of HTTP/2 servers, each with its server. All servers that the primary knows come by here: whatever way
// the app calls listen(), and whoever else wraps that.
function rememberSessions() {
  const sessions = new Map();
  const remember = function (session) {
    sessions.set(session, this);
    session.once('close', () => sessions.delete(session));
  };
  const { _getServer } = cluster;
  if (typeof _getServer !== 'function') return sessions;
  cluster._getServer = function (server, ...rest) {
    if (isHttp2(server) && !server.listeners('session').includes(remember)) server.on('session', remember);
    return _getServer.call(this, server, ...rest);
  };
  return sessions;
}

// GOAWAY: sessions of closed servers take no more streams, and end with their last one. Node 24 and later says so by
// itself, but not to sessions whose handshake is under way then. Before Node 18 it would cut the last stream's end. A
// session that has ended waits for its client to close its side, which one that is gone never does.
function sayGoAway(sessions, patienceMs) {
  if (parseInt(process.versions.node, 10) < 18) return;
  const ends = new WeakMap(); // session → how its socket is closed, and since when it has ended
  const look = () => {
    for (const [session, server] of sessions) {
      // An ended session does not know its socket any more; a living one hides that it can be closed.
      if (!session.destroyed && !ends.has(session)) ends.set(session, { closeSocket: session.socket.destroySoon });
      if (!server.listening) session.close();
      const end = ends.get(session);
      if (!session.destroyed || !end) continue;
      if (!end.at) end.at = now();
      if (now() - end.at > Math.max(1000, patienceMs())) end.closeSocket();
    }
  };
  look();
  setInterval(look, LOOK_MS).unref();
}

// An app may have a parser of its own at a socket.
function isIdle({ server, parser, _httpMessage }) {
  return server && parser && parser.constructor.name === 'HTTPParser' && !parser.incoming && !_httpMessage;
}

function isBusy(socket) {
  return socket.parser && !isIdle(socket);
}

// So long Node itself keeps an idle connection of the server: newer versions wait for a second more than they say. A
// server of HTTP/2 promises nothing to its HTTP/1.1 clients before Node 24: it is taken for what it is since then.
function promisedMs({ keepAliveTimeout = 5000, keepAliveTimeoutBuffer = 1000 }) {
  return keepAliveTimeout > 0 ? keepAliveTimeout + keepAliveTimeoutBuffer + 500 : Infinity;
}

// Milliseconds, of a clock that nobody sets.
function now() {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

// Closes connections, one for each turn of the loop in which nothing else was to be done: a request that the kernel
// has already is read before its connection is closed. destroy() closes at once, where end() and destroySoon() take
// another turn, in which a request may come. A loop that is never calm is waited for, for a second at least. At
// last `then` is called.
function closeOneByOne(sockets, patienceMs, then) {
  if (sockets.length === 0) return then();
  const read = new Map(sockets.map((socket) => [socket, socket.bytesRead]));
  const begun = now();
  let turn = now();
  const step = () => {
    const calm = now() - turn < 0.25;
    if (calm || now() - begun > Math.max(1000, patienceMs())) {
      const socket = sockets.pop();
      if (!socket) return then();
      if (!isBusy(socket) && socket.bytesRead === read.get(socket)) socket.destroy();
    }
    turn = now();
    setImmediate(step);
  };
  setImmediate(step);
}

// Returns a function that names the HTTP connections of closed servers which carry no request, each with the
// milliseconds for which it was seen to bring no byte. Sockets that became WebSockets have no parser and are left alone.
// Those that wait for the first byte of a TLS session have none, either.
function quietConnections(closed) {
  let before = new Map(); // socket → bytes read, and since when no more
  const isSilent = (socket) => isBareAtFirst(socket.server) && !socket.parser && socket.bytesRead === 0;
  return () => {
    const since = (socket) => {
      const last = before.get(socket);
      return last && last.bytes === socket.bytesRead ? last : { bytes: socket.bytesRead, at: now() };
    };
    const all = handles();
    for (const server of closed.keys()) all.push(...secured(server));
    const idle = all.filter((socket) => isIdle(socket) || isSilent(socket));
    before = new Map(idle.map((socket) => [socket, since(socket)]));
    const quiet = [...before].filter(([socket]) => !socket.server.listening);
    return new Map(quiet.map(([socket, { at }]) => [socket, now() - at]));
  };
}
