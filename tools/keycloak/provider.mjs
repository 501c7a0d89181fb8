// An OpenID Connect provider (oidc-provider, certified) with its own sign-in pages, for one client, on a port of its own.
// Prints the port, and ends when its input does. Every name and password is taken, except the name "nobody".
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const callback = 'https://portal.acme.example/callback';
const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const { port } = server.address();
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'portal', redirect_uris: [callback], response_types: ['code'], grant_types: ['authorization_code'],
    token_endpoint_auth_method: 'none',
  }],
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  cookies: { keys: ['a key of this test alone'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
// The provider's own pages take every password; people's providers do not.
const ours = provider.callback();
server.on('request', (request, response) => {
  if (request.method !== 'POST' || !request.url.startsWith('/interaction/')) return ours(request, response);
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    if (new URLSearchParams(body).get('login') === 'nobody') {
      response.writeHead(200, { 'content-type': 'text/html' });
      return response.end(`<div class="alert">Unknown user &amp; password</div><form method="post" action="${request.url}">
        <input type="hidden" name="prompt" value="login"><input name="login"><input type="password" name="password"></form>`);
    }
    request.body = Object.fromEntries(new URLSearchParams(body));
    return ours(request, response);
  });
});
console.log(port);
// Nobody reads on, and writing to a closed pipe would end the process.
console.log = console.info = console.warn = console.error;
process.stdin.on('end', () => process.exit(0)).resume();
