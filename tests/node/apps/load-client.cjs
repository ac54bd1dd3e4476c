'use strict';
// Keep-alive https clients until standard input ends; prints {served, lost}.
const https = require('https');
const agent = new https.Agent({ keepAlive: true, maxSockets: 16, rejectUnauthorized: false });
let stopped = false;
let running = 0;
const tally = { served: 0, lost: 0 };
function client(pause) {
  if (stopped) return --running || finish();
  https.get({ port: process.env.PORT, path: '/fast', agent }, (response) => {
    response.resume().on('end', () => {
      tally.served += 1;
      setTimeout(client, pause, pause);
    });
  }).on('error', (error) => {
    console.error(`lost: ${error.message}`);
    tally.lost += 1;
    client(pause);
  });
}
const finish = () => {
  console.log(JSON.stringify(tally));
  process.exit();
};
for (const pause of [0, 0, 0, 0, 5, 20, 50, 150]) running++, client(pause);
process.stdin.resume().on('end', () => {
  stopped = true;
});
