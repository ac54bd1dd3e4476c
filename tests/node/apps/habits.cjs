'use strict';
// An app that does on request what apps do with their primary. DO names it.
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');
const say = (word, value) => fs.writeSync(1, `${word} ${JSON.stringify(value)}\n`);

const deeds = {
  'echo messages': () => {
    process.on('message', (message) => process.send({ echo: message }));
    process.send('hello');
    process.send(42);
    process.send(null);
    process.send(['ä', { cmd: 'NODE_' }]);
    process.send('ready');
  },
  'leave by worker.disconnect': () => server(() => cluster.worker.disconnect()),
  'leave by worker.kill': () => server(() => cluster.worker.kill()),
  'cut the channel': () => server(() => process.disconnect()),
  'tell who it is': () => {
    const { isWorker, isPrimary, isMaster, worker } = cluster;
    const seen = Object.keys(process.env).filter((name) => /^NODE_(CHANNEL|UNIQUE)/.test(name));
    say('SELF', { isWorker, isPrimary: isPrimary || isMaster, id: worker.id, connected: process.connected, seen });
  },
  'fork like a primary': () => {
    if (cluster.isPrimary || cluster.isMaster) for (let n = 0; n < 2; n++) cluster.fork();
    else server();
  },
  'send a handle': () => {
    const extra = require('net').createServer().listen({ port: 0, exclusive: true }, () => {
      process.send({ here: 'is a server' }, extra, () => {});
      process.send('after the handle');
    });
  },
  'forge': () => {
    process.send({ cmd: 'NODE_CLUSTER', act: 'close', key: 'g0', seq: 900 });
    process.send({ cmd: 'NODE_CLUSTER', act: 'close', key: 'nonsense', seq: 901 });
    process.send({ cmd: 'NODE_CLUSTER', act: 'queryServer', address: '/etc/passwd', port: -1, addressType: -1, seq: 902 });
    process.send({ cmd: 'NODE_CLUSTER', act: 'queryServer', address: [], seq: 903 });
    process.send({ cmd: 'NODE_CLUSTER', ack: 12345, accepted: true, seq: 904 });
    process.send({ cmd: 'NODE_HANDLE_ACK' });
    process.send({ cmd: 'NODE_HANDLE_NACK' });
    process.send({ cmd: 'NODE_HANDLE', type: 'net.Native', msg: {} });
    process.send('still here');
  },
  'stay after the drain': () => {
    server();
    setInterval(() => {}, 1000);
    process.on('SIGTERM', () => {
      say('SIGTERM', true);
      process.exit(7);
    });
  },
  'hold a connection': () => {
    require('net').createServer((socket) => socket.write('hello')).listen(Number(process.env.PORT));
    process.on('SIGTERM', () => {
      say('SIGTERM', true);
      process.exit(7);
    });
  },
  'close at shutdown': () => {
    server();
    process.on('message', (message) => message === 'shutdown' && say('SHUTDOWN', true));
  },
};

function server(then) {
  const answer = (_, response) => response.end(String(cluster.worker.id));
  http.createServer(answer).listen(Number(process.env.PORT), then);
}

deeds[process.env.DO]();
