'use strict';
// One https request on a connection that is then kept, idle, until the server closes it. With SILENT nothing is asked.
const { PORT: port, SILENT } = process.env;
if (SILENT) {
  require('tls').connect({ port, rejectUnauthorized: false }, () => console.log('IDLE')).on('error', () => {}).resume();
} else {
  const agent = new (require('https').Agent)({ keepAlive: true, rejectUnauthorized: false });
  require('https').get({ port, path: '/fast', agent }, (response) => {
    response.resume().on('end', () => console.log('IDLE'));
  });
}
process.stdin.resume().on('end', () => process.exit());
