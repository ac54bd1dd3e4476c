'use strict';
// One listen() of the table, by name (VARIANT). Prints "ADDRESS …" or "ERROR …"; answers with its worker id.
const cluster = require('cluster');
const http = require('http');
const fs = require('fs');
const { PORT, UNIX, ABSTRACT, UDP, VARIANT, FIXTURES, OTHER } = process.env;
const port = Number(PORT);

const say = (word, value) => fs.writeSync(1, `${word} ${JSON.stringify(value)}\n`);
const answer = (request, response) => response.end(String(cluster.worker.id));
const pem = (name) => fs.readFileSync(`${FIXTURES}/${name}`);
const tls = () => ({ key: pem('key.pem'), cert: pem('cert.pem') });

function serve(server, ...where) {
  server.on('error', (error) => say('ERROR', { code: error.code, message: error.message }));
  server.listen(...where, () => say('ADDRESS', server.address()));
}
function udp(type, ...where) {
  const socket = require('dgram').createSocket(type);
  socket.on('error', (error) => say('ERROR', { code: error.code, message: error.message }));
  socket.on('message', (_, from) => socket.send(String(cluster.worker.id), from.port, from.address));
  socket.bind(...where, () => say('ADDRESS', socket.address()));
}
const plain = (...where) => serve(http.createServer(answer), ...where);

const variants = {
  'port': () => plain(port),
  'port as text': () => plain(PORT),
  'IPv4 loopback': () => plain(port, '127.0.0.1'),
  'localhost': () => plain(port, 'localhost'),
  'IPv4 any': () => plain(port, '0.0.0.0'),
  'IPv6 any': () => plain(port, '::'),
  'IPv6 loopback': () => plain(port, '::1'),
  'IPv6 only': () => plain({ port, host: '::', ipv6Only: true }),
  'backlog': () => plain(port, '::', 77),
  'unix path': () => plain(UNIX),
  'abstract': () => plain('\0' + ABSTRACT),
  'fd': () => plain({ fd: 3 }),
  'fd of a datagram socket': () => plain({ fd: 4 }),
  'fd out of range': () => plain({ fd: 99 }),
  'port 0': () => plain(0),
  'no port': () => plain(),
  'another port': () => plain(Number(OTHER)),
  'a privileged port': () => plain(1),
  'a path of its own': () => plain(process.env.OTHER_UNIX),
  'https': () => serve(require('https').createServer(tls(), answer), port),
  'http2': () => serve(require('http2').createServer(answer), port),
  'udp4': () => udp('udp4', Number(UDP)),
  'udp4 any': () => udp('udp4', { port: Number(UDP), address: '0.0.0.0' }),
  'udp fd': () => udp('udp4', { fd: 4 }),
  'twice': () => {
    plain(port);
    const second = http.createServer(answer);
    second.on('error', (error) => say('SECOND', error.code));
    second.listen(port);
  },
  'again after close': () => {
    const server = http.createServer(answer);
    server.listen(port, () => server.close(() => plain(port)));
  },
  'two ports': () => {
    plain(port);
    const second = http.createServer(answer);
    second.listen(Number(OTHER), () => say('SECOND', second.address()));
  },
};

if (cluster.isPrimary === true || cluster.isMaster === true) throw new Error('not a worker');
variants[VARIANT]();
