// The official browser SDK in examples/spa, in a real browser, against the issuer and
// examples/api.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { spaServer } from '../../examples/spa/serve.mjs';
import { openBrowser, password, selfSigned, signIn } from '../lib/browser.mjs';
import { apiBinary, caFile, createApi, createClient, createUser, domain, issuer } from '../lib/fixtures.mjs';
import { start } from '../lib/process.mjs';

const sdk = join(dirname(createRequire(import.meta.url).resolve('@auth0/auth0-spa-js/package.json')), 'dist/auth0-spa-js.production.js');

// listen starts the page's server on a free port of localhost.
async function listen(settings, tls) {
  const server = spaServer(settings, { sdk, tls });
  await new Promise((resolve, reject) => server.on('error', reject).listen(0, 'localhost', resolve));
  const origin = `${tls ? 'https' : 'http'}://localhost:${server.address().port}`;
  return { origin, close: () => (server.closeAllConnections(), server.close()) };
}

// application makes the client for a page served at origin.
const application = (origin, fields) =>
  createClient({
    app_type: 'spa',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    callbacks: [origin],
    allowed_logout_urls: [origin],
    web_origins: [origin],
    allowed_origins: [origin],
    ...fields,
  });

const status = (page, want) => page.locator('#status').filter({ hasText: new RegExp(`^${want}$`) }).waitFor();

// claims presses a button that gets a token and returns the claims the page then shows.
async function claims(page, button) {
  await page.locator('#claims').evaluate((e) => (e.textContent = ''));
  await page.locator(button).click();
  await page.waitForFunction(() => document.querySelector('#claims').textContent || document.querySelector('#error').textContent);
  assert.equal(await page.locator('#error').textContent(), '', `${button} failed`);
  return JSON.parse(await page.locator('#claims').textContent());
}

// tokenRequests collects the grant types of all requests to the token endpoint, the
// worker's too.
function tokenRequests(context) {
  const grants = [];
  context.on('request', (req) => {
    if (req.url() === `${issuer}oauth/token` && req.method() === 'POST') grants.push(new URLSearchParams(req.postData() ?? '').get('grant_type'));
  });
  return grants;
}

describe('auth0-spa-js, refresh tokens in a Web Worker, page at http://localhost', () => {
  const settings = { domain, scope: 'openid profile email read:orders', refreshTokens: true };
  let browser, spa, api, user, page, context, grants;

  before(async () => {
    spa = await listen(settings);
    const resource = await createApi();
    api = await start(apiBinary, ['-issuer', issuer, '-audience', resource.identifier, '-ca', caFile, '-listen', 'localhost:0', '-origin', spa.origin], 'api: ready ');
    const client = await application(spa.origin, {
      refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 0, token_lifetime: 86400, idle_token_lifetime: 3600 },
    });
    user = await createUser();
    Object.assign(settings, {
      clientId: client.client_id,
      audience: resource.identifier,
      api: new URL('private', api.line.slice('api: ready '.length)).href,
    });
    browser = await openBrowser();
    context = await browser.newContext();
    grants = tokenRequests(context);
    page = await context.newPage();
    page.setDefaultTimeout(20_000);
  });
  after(async () => {
    await browser?.close();
    await api?.stop();
    spa?.close();
  });

  test('logs in through the page', async () => {
    await page.goto(spa.origin);
    await status(page, 'signed out');
    await page.locator('#login').click();
    await page.waitForURL((url) => url.href.startsWith(issuer));
    const asked = await signIn(page, user, spa.origin);
    assert.ok(asked, 'a callback at http://localhost cannot be told from another program on the machine: it must ask for consent (SEC-41)');
    await status(page, 'signed in');
    assert.match(await page.locator('#user').textContent(), new RegExp(user.email.replaceAll('.', '\\.')));
    assert.deepEqual(grants, ['authorization_code']);
  });

  test('keeps its tokens in a worker and not in any storage', async () => {
    assert.equal(page.workers().length, 1, 'the worker of the SDK');
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.doesNotMatch(stored, /brt_|eyJ/, 'a token in a storage');
  });

  test('has an access token for the API and answers from its cache', async () => {
    const first = await claims(page, '#token');
    assert.equal(first.iss, issuer);
    assert.equal(first.sub, user.user_id);
    assert.ok([first.aud].flat().includes(settings.audience), `aud ${first.aud}`);
    assert.match(first.scope, /\bread:orders\b/);
    assert.doesNotMatch(first.scope, /\bwrite:orders\b/, 'a scope nobody asked for');
    const second = await claims(page, '#token');
    assert.equal(second.jti, first.jti);
    assert.deepEqual(grants, ['authorization_code']);
  });

  test('refreshes, more than once: the rotated value is kept', async () => {
    const seen = new Set([(await claims(page, '#token')).jti]);
    for (let i = 0; i < 3; i++) seen.add((await claims(page, '#refresh')).jti);
    assert.equal(seen.size, 4, 'every refresh brings another access token');
    assert.deepEqual(grants, ['authorization_code', 'refresh_token', 'refresh_token', 'refresh_token']);
  });

  test('calls the API', async () => {
    await page.locator('#call-api').click();
    await page.waitForFunction(() => document.querySelector('#api-result').textContent || document.querySelector('#error').textContent);
    assert.equal(await page.locator('#error').textContent(), '');
    const answer = await page.locator('#api-result').textContent();
    assert.match(answer, /^200 /);
    assert.ok(answer.includes(user.user_id), `the API answers who calls: ${answer}`);
  });

  test('logs out, and the next login asks for the password again', async () => {
    await page.locator('#logout').click();
    await page.waitForURL((url) => url.href.startsWith(spa.origin));
    await status(page, 'signed out');
    await page.locator('#login').click();
    await page.waitForURL((url) => url.href.startsWith(issuer));
    await password(page).waitFor();
  });
});

describe('auth0-spa-js, silent authentication in a frame, page at https://localhost', () => {
  const settings = { domain, scope: 'openid profile email read:orders', refreshTokens: false };
  let browser, spa, user, page;

  before(async () => {
    const files = await selfSigned();
    spa = await listen(settings, { cert: await readFile(files.cert), key: await readFile(files.key) });
    const resource = await createApi();
    // The operator says that the callback is this application's: without that a frame could
    // never be answered without a consent page.
    const client = await application(spa.origin, { skip_non_verifiable_callback_uri_confirmation_prompt: true });
    user = await createUser();
    Object.assign(settings, { clientId: client.client_id, audience: resource.identifier });
    browser = await openBrowser({ trust: [files.cert] });
    page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(20_000);
  });
  after(async () => {
    await browser?.close();
    spa?.close();
  });

  test('logs in through the page', async () => {
    await page.goto(spa.origin);
    await page.locator('#login').click();
    await page.waitForURL((url) => url.href.startsWith(issuer));
    await signIn(page, user, spa.origin);
    await status(page, 'signed in');
  });

  test('gets another token in a hidden frame', async () => {
    const first = await claims(page, '#token');
    const frame = page.waitForRequest((req) => req.url().startsWith(`${issuer}authorize?`) && req.frame().parentFrame() !== null);
    const second = await claims(page, '#refresh');
    const query = new URL((await frame).url()).searchParams;
    assert.equal(query.get('prompt'), 'none');
    assert.equal(query.get('response_mode'), 'web_message');
    assert.notEqual(second.jti, first.jti);
    assert.equal(second.sub, user.user_id);
  });

  test('is still signed in after a reload, without a page of the issuer', async () => {
    await page.reload();
    await status(page, 'signed in');
    assert.equal(new URL(page.url()).origin, spa.origin);
  });

  test('after logging out, silent authentication says login_required', async () => {
    await page.locator('#logout').click();
    await page.waitForURL((url) => url.href.startsWith(spa.origin));
    await status(page, 'signed out');
    await page.locator('#refresh').evaluate((button) => (button.disabled = false));
    await page.locator('#refresh').click();
    await page.locator('#error').filter({ hasText: 'login_required' }).waitFor();
  });
});
