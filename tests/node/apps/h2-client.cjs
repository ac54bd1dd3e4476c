'use strict';
// HTTP/2 clients, with TLS unless PLAIN. With HOLD one session that has asked and is idle, one that asks nothing, one with
// a stream under way, and one that begins its TLS when it sees the idle one go: says "held", and at the end what it heard.
// Else clients that ask without a pause, and with pauses, on four sessions, each for as long as the server takes streams:
// says "enough" once WANTED are served, and prints its tally when standard input ends. Streams that the server has not
// taken (GOAWAY, REFUSED_STREAM) are repeated.
const http2 = require('http2');
const net = require('net');
const tls = require('tls');
const { PORT, PLAIN, HOLD, WANTED } = process.env;
const { NGHTTP2_REFUSED_STREAM } = http2.constants;
const open = () => http2.connect(`${PLAIN ? 'http' : 'https'}://localhost:${PORT}`, { rejectUnauthorized: false });
const connect = () => open().on('error', (error) => console.error(`session: ${error.message}`));
const ask = (session, path, end, first = () => {}) => {
  let body = '';
  let whole = false;
  const stream = session.request({ ':path': path });
  stream.setEncoding('latin1').on('data', (data) => {
    if (!body) first();
    body += data;
  });
  stream.on('end', () => (whole = true));
  // A stream that is cut without an error has an end as well, but a code.
  const isWhole = () => whole && stream.rstCode === 0 && body.endsWith('\n');
  stream.on('error', () => {}).on('close', () => end(stream.rstCode, isWhole() ? body : null));
};

function hold() {
  // Connected before the others, so the server has it when it answers those. Without TLS it is a session from the start.
  const late = net.connect(PORT, 'localhost', () => holdAll(late));
}

function holdAll(late) {
  const heard = {};
  const away = (session, name) => {
    session.on('goaway', (code, last) => (heard[name] = { code, last })).on('error', (error) => (heard.error = String(error)));
    return new Promise((resolve) => session.on('close', resolve));
  };
  const begin = () => {
    const secured = () => (PLAIN ? late : tls.connect({ socket: late, ALPNProtocols: ['h2'], rejectUnauthorized: false }));
    const session = http2.connect(`${PLAIN ? 'http' : 'https'}://localhost`, { createConnection: secured });
    return away(session, 'late');
  };
  const [idle, silent, streaming] = [open(), open(), open()];
  const idleIsClosed = away(idle, 'idle');
  const closed = [idleIsClosed, away(silent, 'silent'), away(streaming, 'streaming')];
  closed.push(PLAIN ? begin() : idleIsClosed.then(begin));
  Promise.all([
    new Promise((resolve) => ask(idle, '/fast', resolve)),
    new Promise((resolve) => silent.ping(resolve)),
    new Promise((resolve) => {
      const end = (code, body) => (heard.stream = { code, pieces: body && body.split('\n').length - 1 });
      ask(streaming, '/stream', end, resolve);
    }),
  ]).then(() => console.log('held'));
  Promise.all(closed).then(() => {
    console.log(JSON.stringify(heard));
    process.exit();
  });
}

function load() {
  const tally = { served: 0, sessions: 0, refused: 0, lost: 0 };
  const sessions = [];
  let stopped = false;
  let running = 0;
  const usable = (at) => {
    const session = sessions[at];
    if (session && !session.closed && !session.destroyed) return session;
    tally.sessions += 1;
    const made = connect();
    made.on('goaway', () => sessions[at] === made && (sessions[at] = null));
    return (sessions[at] = made);
  };
  // Without a session's number each request has a session of its own.
  const client = (pause, at) => {
    if (stopped) return --running || finish();
    const own = at === undefined ? connect() : usable(at);
    const path = pause ? '/stream' : '/fast';
    ask(own, path, (code, body) => {
      if (at === undefined) own.close();
      if (body === null && code === NGHTTP2_REFUSED_STREAM) {
        tally.refused += 1;
        return setImmediate(client, pause, at);
      }
      if (body === null) {
        console.error(`lost: ${path}, code ${code}`);
        tally.lost += 1;
      } else if (++tally.served === Number(WANTED)) {
        console.log('enough');
      }
      setTimeout(client, pause, pause, at);
    });
  };
  const finish = () => {
    console.log(JSON.stringify(tally));
    process.exit();
  };
  for (const pause of [0, 5, 20, 80]) for (const at of [0, 1, 2, 3]) running++, client(pause, at);
  for (const pause of [20, 50]) running++, client(pause);
  process.stdin.resume().on('end', () => (stopped = true));
}

if (HOLD) hold();
else load();
