// A worker in Node on the inherited descriptor, in systemd's own way (no cluster channel).
//
//     ganger run examples/node-fd/hello-node-fd.toml
'use strict';
const http = require('node:http');
const net = require('node:net');

const server = http.createServer((request, response) => {
  // Once the server accepts no more, each answer also ends its keep-alive connection.
  if (!server.listening) response.setHeader('Connection', 'close');
  response.end(`hello from Node, worker ${process.env.GANGER_WORKER ?? '-'}, pid ${process.pid}\n`);
});

server.listen({ fd: 3 }); // 3: the first of LISTEN_FDS

process.on('SIGTERM', () => {
  // http.Server's own close() would also cut idle connections at once, though a request may be under way on one.
  net.Server.prototype.close.call(server);
  setTimeout(() => server.closeIdleConnections(), 1000).unref();
});
