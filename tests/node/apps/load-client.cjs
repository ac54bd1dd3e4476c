'use strict';
// https clients of every habit until standard input ends: keep-alive without a pause, with pauses, with long ones, and a
// connection for each request. Says "enough" once WANTED are served; prints {served, lost} at its end.
const https = require('https');
const agent = new https.Agent({ keepAlive: true, maxSockets: 32, rejectUnauthorized: false });
const wanted = Number(process.env.WANTED);
let stopped = false;
let running = 0;
const tally = { served: 0, short: 0, lost: 0 };
function client(pause, once) {
  if (stopped) return --running || finish();
  const options = once ? { agent: false, rejectUnauthorized: false } : { agent };
  let over = false;
  // An answer that is cut has its error on the response, a request without one on the request.
  const end = (error) => {
    if (over) return;
    over = true;
    if (error) {
      console.error(`lost: ${error.message}`);
      tally.lost += 1;
    } else {
      if (once) tally.short += 1;
      if (++tally.served === wanted) console.log('enough');
    }
    setTimeout(client, pause, pause, once);
  };
  https.get({ port: process.env.PORT, path: '/fast', ...options }, (response) => {
    response.resume().on('end', () => end(response.complete ? null : new Error('cut'))).on('error', end);
  }).on('error', end);
}
const finish = () => {
  console.log(JSON.stringify(tally));
  process.exit();
};
for (const pause of [0, 0, 0, 0, 0, 0, 5, 20, 50, 150, 1500, 1500]) running++, client(pause, false);
for (const pause of [20, 50]) running++, client(pause, true);
process.stdin.resume().on('end', () => {
  stopped = true;
});
