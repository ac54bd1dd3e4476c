import cluster from 'node:cluster';
import http, { type ServerResponse } from 'node:http';
const answer = (_: unknown, response: ServerResponse): void => void response.end(String(cluster.worker!.id));
http.createServer(answer).listen(Number(process.env.PORT));
