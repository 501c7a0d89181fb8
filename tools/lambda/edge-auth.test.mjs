// The sign-in guard of edge-auth: the code out of its template, a browser that keeps cookies as browsers do, and an
// identity provider with real keys that checks what Cognito checks.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import { functionOf, handlerOf, templateOf } from './load.mjs';
import { clock, confused, httpsTo, key, server, token, unsigned } from './tokens.mjs';

const TEMPLATE = new URL('../../components/edge-auth/function.cfn.yaml', import.meta.url);
const HOST = 'app.dev.acme.example';
const DOMAIN = 'acme-dev.auth.eu-central-1.amazoncognito.com';
const ISSUER = 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI';
const CLIENT = '4ivne28uad3dp6uncttem7sf20';
const CALLBACK = `https://${HOST}/oauth2/callback`;
const CONFIG = {
  Host: HOST,
  Domain: DOMAIN,
  IssuerUrl: ISSUER,
  ClientId: CLIENT,
  Scopes: 'openid email profile employee-api/read',
};
const signer = key('one');
const stranger = key('one');
const other = key('two');

let idp;
let time;
let log;
let guard;

/** The identity provider: sign-in pages that say yes to everybody, a token endpoint, and its keys. */
const provider = {
  /** What somebody at the sign-in page leads to: the callback with a code. */
  signIn(location) {
    const url = new URL(location);
    assert.equal(`${url.origin}${url.pathname}`, `https://${DOMAIN}/oauth2/authorize`);
    const asked = Object.fromEntries(url.searchParams);
    const code = `code-${this.codes.size + 1}`;
    this.codes.set(code, asked);
    return `${asked.redirect_uri}?${new URLSearchParams({ code, state: asked.state })}`;
  },
  answer(request, response, body) {
    if (request.url.endsWith('/.well-known/jwks.json')) {
      assert.equal(request.method, 'GET');
      return response.end(JSON.stringify({ keys: [signer.jwk] }));
    }
    assert.equal(`${request.method} ${request.url}`, 'POST /oauth2/token');
    assert.equal(request.headers['content-type'], 'application/x-www-form-urlencoded');
    const form = Object.fromEntries(new URLSearchParams(body));
    const asked = provider.codes.get(form.code);
    provider.codes.delete(form.code);
    const challenge = createHash('sha256').update(form.code_verifier ?? '').digest('base64url');
    const right = form.grant_type === 'authorization_code' && form.client_id === CLIENT && !('client_secret' in form);
    if (!right || !asked || asked.redirect_uri !== form.redirect_uri || asked.code_challenge !== challenge) {
      return response.writeHead(400).end('{"error":"invalid_grant"}');
    }
    return response.end(JSON.stringify(provider.tokens(asked.nonce)));
  },
  tokens(nonce) {
    return {
      id_token: token(this.signer, idClaims({ nonce, ...this.id })),
      access_token: token(signer, accessClaims(this.access)),
      refresh_token: 'not-used',
      token_type: 'Bearer',
    };
  },
  reset() {
    Object.assign(this, { codes: new Map(), id: {}, access: {}, signer });
  },
};

const common = () => ({ iss: ISSUER, sub: 'b8f4f7a2', iat: time.seconds(), exp: time.seconds() + 3600 });
const idClaims = (changed) => ({ ...common(), aud: CLIENT, token_use: 'id', email: 'ada@acme.example', ...changed });
const accessClaims = (changed) => ({ ...common(), client_id: CLIENT, token_use: 'access', scope: 'openid', ...changed });

/** A browser at the distribution: it keeps cookies by the rules for `__Host-` and forgets them in time. */
class Browser {
  cookies = new Map();

  async ask(target, { method = 'GET', headers = {}, page = true } = {}) {
    const url = new URL(target, `https://${HOST}`);
    const sent = {
      host: url.host,
      ...(page ? { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' } : {}),
      ...headers,
    };
    const kept = [...this.cookies].filter(([, { until }]) => until > time.seconds());
    if (kept.length > 0) sent.cookie = kept.map(([name, { value }]) => `${name}=${value}`).join('; ');
    const event = {
      clientIp: '203.0.113.7',
      method,
      uri: url.pathname,
      querystring: url.search.slice(1),
      headers: Object.fromEntries(Object.entries(sent).map(([key, value]) => [key, [{ key, value }]])),
    };
    const result = await guard({ Records: [{ cf: { config: { eventType: 'viewer-request' }, request: event } }] });
    if (!('status' in result)) return { passed: result };
    assert.ok(Buffer.byteLength(JSON.stringify(result)) < 40_000, 'CloudFront takes 40 KB');
    assert.equal(result.headers['cache-control'][0].value, 'no-store');
    for (const { value } of result.headers['set-cookie'] ?? []) this.keep(value);
    return { status: result.status, location: result.headers.location?.[0].value, body: result.body, result };
  }

  keep(line) {
    const match = /^(__Host-[a-z]+)=([A-Za-z0-9_.-]*); Path=\/; Max-Age=(\d+); Secure; HttpOnly; SameSite=Lax$/.exec(line);
    assert.ok(match, line);
    const [, name, value, seconds] = match;
    if (name.length + 1 + value.length > 4096) return;
    this.cookies.set(name, { value, until: time.seconds() + Number(seconds) });
  }

  names() {
    return [...this.cookies].filter(([, { until }]) => until > time.seconds()).map(([name]) => name).sort();
  }

  /** Everything from the first visit to the page that was wanted. */
  async signIn(target = '/') {
    const first = await this.ask(target);
    return this.ask(provider.signIn(first.location));
  }
}

let browser;

function start(config = {}) {
  time = clock();
  log = [];
  const note = (line) => log.push(line);
  guard = handlerOf(TEMPLATE, 'Function', {
    config: { ...CONFIG, ...config },
    modules: { 'node:https': httpsTo(idp.port) },
    globals: { Date: time, console: { log: note, error: note } },
  });
  browser = new Browser();
}

before(async () => (idp = await server(provider.answer)));
after(() => idp.close());
beforeEach(() => {
  provider.reset();
  idp.answer = provider.answer;
  idp.requests.length = 0;
  start();
});

describe('signing in', () => {
  test('the first visit leads to the sign-in pages, with a challenge', async () => {
    const { status, location } = await browser.ask('/employees?page=2');
    assert.equal(status, '302');
    const url = new URL(location);
    const { state, nonce, code_challenge, ...rest } = Object.fromEntries(url.searchParams);
    assert.equal(url.host, DOMAIN);
    assert.deepEqual(rest, {
      client_id: CLIENT,
      response_type: 'code',
      scope: 'openid email profile employee-api/read',
      redirect_uri: CALLBACK,
      code_challenge_method: 'S256',
    });
    for (const secret of [state, nonce, code_challenge]) assert.match(secret, /^[A-Za-z0-9_-]{43}$/);
    assert.deepEqual(browser.names(), ['__Host-signin']);
    // What proves the sign-in is in the cookie alone: the address holds its digest.
    assert.ok(!location.includes(pendingOf(browser).verifier));
  });

  test('two visits share no secret', async () => {
    const [one, two] = [await browser.ask('/'), await browser.ask('/')].map(({ location }) => new URL(location).searchParams);
    for (const name of ['state', 'nonce', 'code_challenge']) assert.notEqual(one.get(name), two.get(name));
  });

  test('ends on the page that was asked for first', async () => {
    const { status, location, result } = await browser.signIn('/employees?page=2&sort=name');
    assert.equal(`${status} ${location}`, `302 https://${HOST}/employees?page=2&sort=name`);
    assert.deepEqual(browser.names(), ['__Host-access', '__Host-id']);
    assert.equal(result.headers['referrer-policy'][0].value, 'no-referrer');
    const lives = result.headers['set-cookie'].map(({ value }) => /^([^=]+)=.*Max-Age=(\d+)/.exec(value).slice(1).join(' '));
    assert.deepEqual(lives, ['__Host-id 3600', '__Host-access 3600', '__Host-signin 0']);
  });

  test('then lets requests through, with a token for the origin and without our cookies', async () => {
    await browser.signIn();
    browser.cookies.set('theme', { value: 'dark', until: Infinity });
    const { passed } = await browser.ask('/employees', { method: 'POST', page: false });
    assert.equal(passed.uri, '/employees');
    assert.deepEqual(passed.headers.cookie, [{ key: 'Cookie', value: 'theme=dark' }]);
    const access = browser.cookies.get('__Host-access').value;
    assert.deepEqual(passed.headers.authorization, [{ key: 'Authorization', value: `Bearer ${access}` }]);
  });

  test('asks the provider once for its keys, and never for a request of a session', async () => {
    await browser.signIn();
    for (let i = 0; i < 5; i += 1) assert.ok((await browser.ask('/')).passed);
    assert.deepEqual(idp.requests.map(({ method, url }) => `${method} ${url}`), [
      'POST /oauth2/token',
      'GET /eu-central-1_AbCdEfGhI/.well-known/jwks.json',
    ]);
  });

  test('leaves an Authorization header of the application alone, and removes an empty cookie header', async () => {
    await browser.signIn();
    const { passed } = await browser.ask('/', { headers: { authorization: 'Basic YTpi' } });
    assert.equal(passed.headers.authorization[0].value, 'Basic YTpi');
    assert.equal(passed.headers.cookie, undefined);
  });

  test('without the token for the origin keeps one cookie', async () => {
    start({ ForwardAccessToken: 'false' });
    await browser.signIn();
    assert.deepEqual(browser.names(), ['__Host-id']);
    assert.equal((await browser.ask('/')).passed.headers.authorization, undefined);
  });

  test('a request that is no page gets 401 and starts nothing', async () => {
    for (const [method, headers] of [
      ['POST', {}],
      ['DELETE', {}],
      ['GET', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
      ['GET', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
      ['GET', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }],
    ]) {
      const { status, body } = await browser.ask('/', { method, headers, page: false });
      assert.equal(`${status} ${body}`, '401 {"message":"not signed in"}');
    }
    assert.deepEqual(browser.names(), []);
    // A browser that does not tell is taken for one that wants a page.
    assert.equal((await browser.ask('/', { page: false })).status, '302');
  });

  test('under another host name leads to the right one', async () => {
    const elsewhere = await browser.ask('https://d111111abcdef8.cloudfront.net/a?b=c');
    assert.equal(`${elsewhere.status} ${elsewhere.location}`, `302 https://${HOST}/a?b=c`);
    const post = await browser.ask('https://d111111abcdef8.cloudfront.net/a', { method: 'POST' });
    assert.equal(post.status, '421');
    assert.deepEqual(browser.names(), []);
  });

  test('a page with a very long address ends at the front page', async () => {
    const { location } = await browser.signIn(`/search?q=${'x'.repeat(2000)}`);
    assert.equal(location, `https://${HOST}/`);
  });
});

describe('the callback', () => {
  /** What a callback that is refused looks like: no session, no request to anybody unless told. */
  const failed = async (answer, text) => {
    const { status, body, location } = await answer;
    assert.equal(status, '400');
    assert.match(body, text);
    assert.equal(location, undefined);
    assert.ok(!browser.names().some((name) => name === '__Host-id' || name === '__Host-access'));
  };

  test('with a wrong state is refused, and the open sign-in stays open', async () => {
    const { location } = await browser.ask('/');
    const right = provider.signIn(location);
    const wrong = new URL(right);
    wrong.searchParams.set('state', 'x'.repeat(43));
    await failed(browser.ask(wrong), /has expired/);
    wrong.searchParams.delete('state');
    await failed(browser.ask(wrong), /has expired/);
    assert.equal(idp.requests.length, 0);
    assert.equal((await browser.ask(right)).status, '302');
  });

  test('of somebody else is refused in this browser', async () => {
    const attacker = new Browser();
    const { location } = await attacker.ask('/');
    const link = provider.signIn(location);
    await failed(browser.ask(link), /has expired/);
    await browser.ask('/');
    await failed(browser.ask(link), /has expired/);
    assert.equal(idp.requests.length, 0);
  });

  test('after ten minutes is refused', async () => {
    const { location } = await browser.ask('/');
    time.pass(600);
    await failed(browser.ask(provider.signIn(location)), /has expired/);
  });

  test('with a made-up cookie is refused', async () => {
    const planted = [{ state: '', nonce: '', verifier: '', path: '/' }, { state: 1, nonce: 2, verifier: 3, path: 4 }, {}, null, 7];
    for (const value of planted.map((one) => Buffer.from(JSON.stringify(one)).toString('base64url')).concat('%', 'bm8')) {
      browser.cookies.set('__Host-signin', { value, until: Infinity });
      await failed(browser.ask(`${CALLBACK}?code=x&state=`), /has expired/);
      await failed(browser.ask(`${CALLBACK}?code=x`), /has expired/);
    }
    assert.equal(idp.requests.length, 0);
  });

  test('twice is refused the second time: the cookie is gone', async () => {
    const { location } = await browser.ask('/');
    const link = provider.signIn(location);
    await browser.ask(link);
    const again = await browser.ask(link);
    assert.equal(again.status, '400');
    assert.match(again.body, /has expired/);
  });

  test('with an error of the provider says so, and shows nothing that came with it', async () => {
    const state = new URL((await browser.ask('/')).location).searchParams.get('state');
    const text = '<script>alert(1)</script>';
    const answer = await browser.ask(`${CALLBACK}?${new URLSearchParams({ error: 'access_denied', error_description: text, state })}`);
    await failed(answer, /was not completed/);
    assert.ok(!answer.body.includes('script'));
    assert.match(answer.result.headers['content-security-policy'][0].value, /default-src 'none'/);
    assert.deepEqual(browser.names(), []);
  });

  test('without a code is refused', async () => {
    const state = new URL((await browser.ask('/')).location).searchParams.get('state');
    await failed(browser.ask(`${CALLBACK}?state=${state}`), /was not completed/);
  });

  test('with a code that the provider does not know is refused', async () => {
    const link = new URL(provider.signIn((await browser.ask('/')).location));
    link.searchParams.set('code', 'made-up');
    await failed(browser.ask(link), /could not be confirmed/);
    assert.match(log.at(-1), /"refused":"code"/);
  });

  test('with a verifier that does not fit the challenge is refused by the provider', async () => {
    const link = provider.signIn((await browser.ask('/')).location);
    const pending = { ...pendingOf(browser), verifier: 'v'.repeat(43) };
    browser.cookies.get('__Host-signin').value = Buffer.from(JSON.stringify(pending)).toString('base64url');
    await failed(browser.ask(link), /could not be confirmed/);
  });

  const broken = {
    'with the nonce of another sign-in': ['nonce', () => (provider.id = { nonce: 'n'.repeat(43) })],
    'without a nonce': ['nonce', () => (provider.id = { nonce: undefined })],
    'from another issuer': ['issuer', () => (provider.id = { iss: `${ISSUER}x` })],
    'for another client': ['audience', () => (provider.id = { aud: 'x' })],
    'for several clients': ['audience', () => (provider.id = { aud: [CLIENT, 'x'] })],
    'that has expired': ['expired', () => (provider.id = { exp: time.seconds() })],
    'that is not valid yet': ['not valid yet', () => (provider.id = { nbf: time.seconds() + 31 })],
    'that is an access token': ['token use', () => (provider.id = { token_use: 'access' })],
    'with a stranger\'s signature': ['signature', () => (provider.signer = stranger)],
    'with an unknown key': ['unknown key', () => (provider.signer = other)],
    'and an access token for another client': ['audience', () => (provider.access = { client_id: 'x' })],
    'and an access token of somebody else': ['subject', () => (provider.access = { sub: 'x' })],
  };
  for (const [name, [reason, change]] of Object.entries(broken)) {
    test(`with an id token ${name} is refused`, async () => {
      const link = provider.signIn((await browser.ask('/')).location);
      change();
      await failed(browser.ask(link), /could not be confirmed/);
      assert.match(log.at(-1), new RegExp(`"refused":"${reason}"`));
      assert.deepEqual(browser.names(), []);
    });
  }

  test('with tokens that no cookie can hold says so, instead of going round in circles', async () => {
    const link = provider.signIn((await browser.ask('/')).location);
    provider.id = { 'cognito:groups': Array.from({ length: 100 }, (_, i) => `a-group-with-a-long-name-${i}`) };
    await failed(browser.ask(link), /more than a cookie can hold/);
  });

  test('by any method but GET is refused', async () => {
    const link = provider.signIn((await browser.ask('/')).location);
    for (const method of ['HEAD', 'POST']) assert.equal((await browser.ask(link, { method })).status, '405');
    assert.equal((await browser.ask(link)).status, '302');
  });

  for (const [name, answer] of Object.entries({
    'fails': (_, response) => response.writeHead(500).end(),
    'is too busy': (_, response) => response.writeHead(429).end(),
    'hangs up': (request) => request.socket.destroy(),
    'answers nonsense': (_, response) => response.end('<html>'),
  })) {
    test(`while the provider ${name} says that it is not available`, async () => {
      const link = provider.signIn((await browser.ask('/')).location);
      idp.answer = answer;
      const { status, body } = await browser.ask(link);
      assert.equal(status, '503');
      assert.match(body, /try again/);
      assert.ok(!browser.names().includes('__Host-id'));
    });
  }
});

describe('where people are sent afterwards', () => {
  const wanted = {
    '/a/b?c=d': '/a/b?c=d',
    '//evil.example/x': '/',
    '/\\evil.example': '/',
    '\\\\evil.example': '/',
    'https://evil.example/': '/',
    'https:evil.example': '/',
    'javascript:alert(1)': '/',
    '/\t/evil.example': '/',
    '@evil.example': '/',
    '.evil.example': '/',
    '/.//evil.example': '//evil.example',
    '/x\r\nSet-Cookie: a=b': '/xSet-Cookie:%20a=b',
  };
  for (const [path, expected] of Object.entries(wanted)) {
    test(`never leaves the host: ${JSON.stringify(path)}`, async () => {
      const link = provider.signIn((await browser.ask('/')).location);
      const pending = { ...pendingOf(browser), path };
      browser.cookies.get('__Host-signin').value = Buffer.from(JSON.stringify(pending)).toString('base64url');
      const { location } = await browser.ask(link);
      assert.equal(location, `https://${HOST}${expected}`);
      assert.equal(new URL(location).host, HOST);
    });
  }

  test('is no matter of the query', async () => {
    const link = new URL(provider.signIn((await browser.ask('/here')).location));
    for (const name of ['path', 'redirect', 'redirect_uri', 'return_to']) link.searchParams.set(name, 'https://evil.example');
    assert.equal((await browser.ask(link)).location, `https://${HOST}/here`);
  });

  test('stays on the host for a first address with two slashes', async () => {
    const event = { method: 'GET', uri: '//evil.example/', querystring: '', headers: { host: [{ key: 'Host', value: HOST }] } };
    const first = await guard({ Records: [{ cf: { request: event } }] });
    browser.keep(first.headers['set-cookie'][0].value);
    const { location } = await browser.ask(provider.signIn(first.headers.location[0].value));
    assert.equal(location, `https://${HOST}/`);
  });
});

describe('a session', () => {
  test('ends with its tokens', async () => {
    await browser.signIn();
    time.pass(3599);
    assert.ok((await browser.ask('/')).passed);
    time.pass(1);
    assert.equal((await browser.ask('/')).status, '302');
  });

  test('ends with its tokens also in a browser that keeps cookies for ever', async () => {
    await browser.signIn();
    for (const cookie of browser.cookies.values()) cookie.until = Infinity;
    time.pass(3600);
    assert.equal((await browser.ask('/')).status, '302');
    assert.equal((await browser.ask('/', { method: 'POST' })).status, '401');
  });

  const forged = {
    'nonsense': () => ['x', 'y'],
    'empty': () => ['', ''],
    'of a stranger': () => [token(stranger, idClaims()), token(stranger, accessClaims())],
    'without a signature': () => [unsigned(signer, idClaims()), unsigned(signer, accessClaims())],
    'signed with the public key': () => [confused(signer, idClaims()), confused(signer, accessClaims())],
    'with an access token for an id token': () => [token(signer, accessClaims()), token(signer, accessClaims())],
    'with an id token for an access token': () => [token(signer, idClaims()), token(signer, idClaims())],
    'with an algorithm of its own choice': () => [token(signer, idClaims(), { alg: 'none' }), token(signer, accessClaims())],
    'that asks for an extension': () => [token(signer, idClaims(), { crit: ['b64'] }), token(signer, accessClaims())],
    'of another client': () => [token(signer, idClaims({ aud: 'x' })), token(signer, accessClaims())],
    'with an access token of another client': () => [token(signer, idClaims()), token(signer, accessClaims({ client_id: 'x' }))],
    'of two people': () => [token(signer, idClaims()), token(signer, accessClaims({ sub: 'x' }))],
    'of another pool': () => [token(signer, idClaims({ iss: `${ISSUER}x` })), token(signer, accessClaims())],
    'without the access token': () => [token(signer, idClaims()), undefined],
    'without the id token': () => [undefined, token(signer, accessClaims())],
  };
  for (const [name, make] of Object.entries(forged)) {
    test(`${name} is none`, async () => {
      const values = make();
      ['__Host-id', '__Host-access'].forEach((cookie, i) => {
        if (values[i] !== undefined) browser.cookies.set(cookie, { value: values[i], until: Infinity });
      });
      assert.equal((await browser.ask('/')).status, '302');
    });
  }

  test('with good tokens is one: the cases above fail for their own reasons', async () => {
    browser.cookies.set('__Host-id', { value: token(signer, idClaims()), until: Infinity });
    browser.cookies.set('__Host-access', { value: token(signer, accessClaims()), until: Infinity });
    assert.ok((await browser.ask('/')).passed);
  });

  test('is taken from cookies of the exact name only', async () => {
    for (const name of ['id', '__host-id', 'x__Host-id']) {
      browser.cookies.set(name, { value: token(signer, idClaims()), until: Infinity });
    }
    browser.cookies.set('__Host-access', { value: token(signer, accessClaims()), until: Infinity });
    assert.equal((await browser.ask('/')).status, '302');
  });

  test('cannot be judged without the keys: people wait instead of signing in again and again', async () => {
    await browser.signIn();
    const cookies = browser.cookies;
    start();
    browser.cookies = cookies;
    idp.answer = (_, response) => response.writeHead(503).end();
    assert.equal((await browser.ask('/')).status, '503');
    idp.answer = provider.answer;
    time.pass(5);
    assert.ok((await browser.ask('/')).passed);
  });

  test('with unknown keys does not flood the provider', async () => {
    for (let i = 0; i < 20; i += 1) {
      browser.cookies.set('__Host-id', { value: token(signer, idClaims(), { kid: `made-up-${i}` }), until: Infinity });
      assert.equal((await browser.ask('/')).status, '302');
    }
    assert.equal(idp.requests.length, 1);
  });

  test('never gets into the log', async () => {
    await browser.signIn();
    const secrets = [...browser.cookies.values()].map(({ value }) => value).filter(Boolean);
    browser.cookies.get('__Host-id').value = token(stranger, idClaims());
    await browser.ask('/');
    for (const secret of secrets) assert.ok(!log.join().includes(secret));
  });
});

describe('signing out', () => {
  test('ends the session here and at the provider', async () => {
    await browser.signIn();
    const { status, location, result } = await browser.ask('/signout');
    assert.equal(status, '302');
    const url = new URL(location);
    assert.equal(`${url.origin}${url.pathname}`, `https://${DOMAIN}/logout`);
    assert.deepEqual(Object.fromEntries(url.searchParams), { client_id: CLIENT, logout_uri: `https://${HOST}/signed-out` });
    assert.deepEqual(
      result.headers['set-cookie'].map(({ value }) => value),
      ['__Host-id', '__Host-access', '__Host-signin'].map((name) => `${name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax`),
    );
    assert.deepEqual(browser.names(), []);
  });

  test('ends on a page that starts no new sign-in', async () => {
    const { status, body } = await browser.ask('/signed-out');
    assert.equal(status, '200');
    assert.match(body, /signed out/);
    assert.deepEqual(browser.names(), []);
  });

  test('cannot be done by another site', async () => {
    await browser.signIn();
    assert.equal((await browser.ask('/signout', { headers: { 'sec-fetch-site': 'cross-site' } })).status, '403');
    assert.ok((await browser.ask('/')).passed);
  });
});

describe('what CloudFormation makes of it', () => {
  test('the version is made anew when the function changes', () => {
    const template = templateOf(TEMPLATE);
    const digest = createHash('sha256').update(JSON.stringify(template.Resources.Function.Properties)).digest('hex').slice(0, 8);
    const description = template.Resources.Version.Properties.Description['Fn::Sub'];
    assert.equal(description.slice(0, 9), `${digest} `, `write ${digest} at the beginning of the version's description`);
    for (const name of Object.keys(template.Parameters)) {
      // The issuer has a client of its own, and the log is a matter of the role.
      assert.equal(description.includes(`\${${name}}`), !['IssuerUrl', 'Logs'].includes(name), name);
    }
  });

  test('the longest description fits', () => {
    const longest = [8, 32, 64, 100, 'false'.length, 'openid '.length + 34];
    assert.ok(longest.reduce((sum, size) => sum + size + 1, -1) <= 256);
  });

  test('the code fits, with the configuration as a constant in front', () => {
    const { code, environment } = functionOf(TEMPLATE, 'Function', CONFIG);
    assert.ok(Buffer.byteLength(code) < 1_000_000);
    assert.deepEqual(environment, {});
    assert.equal(
      code.split('\n')[0],
      `'use strict'; const CONFIG = { host: "${HOST}", domain: "${DOMAIN}", issuer: "${ISSUER}", clientId: "${CLIENT}", scopes: "${CONFIG.Scopes}", forwardAccessToken: true };`,
    );
  });

  test('nothing that ends a text in JavaScript gets into the configuration', () => {
    const { Parameters } = templateOf(TEMPLATE);
    for (const [name, { AllowedPattern, AllowedValues }] of Object.entries(Parameters)) {
      if (AllowedValues) continue;
      for (const part of ['"', '\\', '\n', '\u2028', '${', '`']) {
        assert.doesNotMatch(`openid https://${part}`, new RegExp(AllowedPattern), name);
        assert.doesNotMatch(`${part}`, new RegExp(AllowedPattern), name);
      }
    }
  });

  test('the template has one copy of the code, and no word of plain http', () => {
    const text = readFileSync(TEMPLATE, 'utf8');
    assert.equal(text.split('exports.handler').length, 2);
    assert.ok(!/http:\/\//.test(text));
  });
});

function pendingOf({ cookies }) {
  return JSON.parse(Buffer.from(cookies.get('__Host-signin').value, 'base64url').toString('utf8'));
}
