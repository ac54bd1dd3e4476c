'use strict';
// Connects COUNT times with TLS 1.2, offering the session it got before; prints how often it was taken up.
const https = require('https');
let session;
let resumed = 0;
let left = Number(process.env.COUNT);
(function next() {
  if (left-- === 0) return console.log(resumed);
  const options = { port: process.env.PORT, rejectUnauthorized: false, maxVersion: 'TLSv1.2', session, agent: false };
  const request = https.get({ ...options, headers: { connection: 'close' } }, (response) => {
    session = session || response.socket.getSession();
    if (response.socket.isSessionReused()) resumed += 1;
    response.resume().on('end', next);
  });
  request.on('error', (error) => {
    throw error;
  });
})();
