'use strict';
// The same answer by each framework: FRAMEWORK names it.
const cluster = require('cluster');
const port = Number(process.env.PORT);
const id = String(cluster.worker.id);

const frameworks = {
  express: () => {
    const app = require('express')();
    app.get('/', (_, response) => response.send(id));
    app.listen(port);
  },
  fastify: () => {
    const app = require('fastify')();
    app.get('/', async () => id);
    app.listen({ port, host: '0.0.0.0' });
  },
  koa: () => {
    const app = new (require('koa'))();
    app.use((context) => {
      context.body = id;
    });
    app.listen(port);
  },
  ws: () => {
    const server = require('http').createServer((_, response) => response.end(id));
    const sockets = new (require('ws').WebSocketServer)({ server });
    sockets.on('connection', (socket) => socket.on('message', (text) => socket.send(`${id}:${text}`)));
    server.listen(port);
  },
};
frameworks[process.env.FRAMEWORK]();
