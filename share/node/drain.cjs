'use strict';
// ganger's drain preload (`node --require drain.cjs app.js`): it acts in cluster workers only, and only once
// the worker is told to leave. `drain = false` under `[node]` leaves it out.
//
// Node answers its primary's `disconnect` by closing the servers. Clients that keep connections alive then lose
// requests: a request crosses the close of an idle connection on the wire (Node 20 and later), or a busy client
// is served for ever and the worker never leaves. HTTP has the cure: from now on every response says
// `Connection: close`, so that the client itself goes elsewhere. Idle connections get a grace period, in which
// they may carry one more request, and are closed after it.
//
// Internals it leans on, there from Node 14 to 26: `internalMessage`, `_storeHeader`, `_getActiveHandles`,
// `parser` and `_httpMessage` of sockets. Where one is missing the worker drains as without this file.

const cluster = require('cluster');

if (cluster.isWorker) {
  const graceMs = Number(process.env.GANGER_IDLE_GRACE_MS) || 1000;
  let draining = false;

  const drain = () => {
    if (draining) return;
    draining = true;
    const http = require('http');
    const closeIdleNow = postponeIdleClose([http.Server, require('https').Server]);
    sayCloseIn(http.ServerResponse.prototype);
    const quiet = quietConnections();
    quiet();
    setTimeout(() => {
      closeIdleNow();
      quiet().forEach((socket) => socket.destroySoon());
      setInterval(() => quiet().forEach((socket) => socket.destroySoon()), graceMs).unref();
    }, graceMs).unref();
  };

  // Before Node's own listener, which closes the servers.
  process.prependListener('internalMessage', (message) => {
    if (message && message.cmd === 'NODE_CLUSTER' && message.act === 'disconnect') drain();
  });

  // The app may leave by itself.
  const { disconnect } = cluster.worker;
  cluster.worker.disconnect = function () {
    drain();
    return disconnect.call(this);
  };
}

// Headers are written in one place, for requests in flight and to come.
function sayCloseIn(prototype) {
  const { _storeHeader } = prototype;
  if (typeof _storeHeader !== 'function') return;
  prototype._storeHeader = function (firstLine, headers) {
    if (this.statusCode !== 101) {
      this.shouldKeepAlive = false;
      if (this.hasHeader('connection')) this.setHeader('Connection', 'close');
    }
    return _storeHeader.call(this, firstLine, headers);
  };
}

// Since Node 19 closing a server closes its idle connections at once. The calls are put off until the returned
// function is called, which makes up for Node 18, too: it can close them but does not by itself.
function postponeIdleClose(classes) {
  const postponed = new Set(); // servers
  const restore = classes
    .map((Class) => Class.prototype)
    .filter((prototype) => prototype.closeIdleConnections)
    .map((prototype) => {
      const real = prototype.closeIdleConnections;
      prototype.closeIdleConnections = function () {
        postponed.add(this);
      };
      return () => Object.assign(prototype, { closeIdleConnections: real });
    });
  return () => {
    restore.forEach((put) => put());
    handles().forEach(({ server }) => {
      if (server && !server.listening && server.closeIdleConnections) server.closeIdleConnections();
    });
    postponed.forEach((server) => server.closeIdleConnections());
  };
}

function handles() {
  return typeof process._getActiveHandles === 'function' ? process._getActiveHandles().filter(Boolean) : [];
}

// Returns a function that names the HTTP connections of closed servers which carry no request and have brought
// no byte since its last call. Sockets that became WebSockets have no parser and are left alone.
function quietConnections() {
  let before = new Map(); // socket → bytes read
  return () => {
    const idle = handles().filter(({ server, parser, _httpMessage }) =>
      server && parser && !parser.incoming && !_httpMessage);
    const quiet = idle.filter((socket) => !socket.server.listening && before.get(socket) === socket.bytesRead);
    before = new Map(idle.map((socket) => [socket, socket.bytesRead]));
    return quiet;
  };
}
