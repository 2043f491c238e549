// openid-client, the certified and strictest of the Node.js clients; logins by plain HTML forms.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as oidc from 'openid-client';
import { createApi, createClient, createUser, decode, domain, issuer, management } from '../lib/fixtures.mjs';
import { PlainBrowser, forms } from '../lib/plain-browser.mjs';

const callback = 'https://app.example.com/callback';
const rotating = { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 0, token_lifetime: 86400, idle_token_lifetime: 3600 };

// login goes through the front channel and the code exchange; openid-client checks state,
// nonce, iss and the ID token.
async function login(config, user, parameters, browser = new PlainBrowser({ stopAt: callback })) {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [oidc.randomState(), oidc.randomNonce()];
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: callback,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...parameters,
  });
  const back = await browser.login(url, user);
  return oidc.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true });
}

const invalidGrant = (err) => {
  assert.equal(err.error, 'invalid_grant');
  assert.equal(err.status, 403);
  return true;
};

describe('openid-client', () => {
  let api, user, confidential, publicClient;

  before(async () => {
    api = await createApi();
    user = await createUser();
    confidential = await createClient({
      app_type: 'regular_web', token_endpoint_auth_method: 'client_secret_basic', callbacks: [callback], allowed_logout_urls: ['https://app.example.com/'],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'], refresh_token: rotating,
    });
    publicClient = await createClient({
      app_type: 'native', token_endpoint_auth_method: 'none', callbacks: [callback], grant_types: ['authorization_code', 'refresh_token'], refresh_token: rotating,
    });
    await management.clientGrants.create({ client_id: confidential.client_id, audience: api.identifier, scope: ['read:orders', 'write:orders'] });
  });

  const discover = (client, auth) => oidc.discovery(new URL(issuer), client.client_id, undefined, auth);

  test('discovery', async () => {
    const metadata = (await discover(confidential, oidc.ClientSecretBasic(confidential.client_secret))).serverMetadata();
    assert.equal(metadata.issuer, issuer);
    assert.equal(metadata.token_endpoint, `https://${domain}/oauth/token`);
    assert.ok(metadata.supportsPKCE());
    assert.deepEqual(metadata.code_challenge_methods_supported, ['S256']);
    assert.equal(metadata.authorization_response_iss_parameter_supported, true);
  });

  test('code with PKCE, confidential client by Basic: userinfo, refresh, revoke', async () => {
    const config = await discover(confidential, oidc.ClientSecretBasic(confidential.client_secret));
    const tokens = await login(config, user, { scope: 'openid profile email offline_access read:orders', audience: api.identifier });
    assert.equal(tokens.claims().sub, user.user_id);
    assert.equal(tokens.claims().email, user.email);
    assert.equal(decode(tokens.access_token).claims.azp, confidential.client_id);
    assert.equal((await oidc.fetchUserInfo(config, tokens.access_token, user.user_id)).email, user.email);

    const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(refreshed.refresh_token, tokens.refresh_token);
    assert.equal(refreshed.claims().sub, user.user_id);
    assert.equal(refreshed.claims().nonce, undefined, 'no nonce in a refreshed ID token');
    await oidc.tokenRevocation(config, refreshed.refresh_token, { token_type_hint: 'refresh_token' });
    await assert.rejects(oidc.refreshTokenGrant(config, refreshed.refresh_token), invalidGrant);
  });

  test('code with PKCE, public client; reuse ends the family', async () => {
    const config = await discover(publicClient, oidc.None());
    const tokens = await login(config, user, { scope: 'openid offline_access' });
    assert.equal(tokens.access_token.split('.').length === 3 && tokens.access_token.startsWith('eyJ'), false, 'without an audience the access token is opaque');
    const next = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token), invalidGrant);
    await assert.rejects(oidc.refreshTokenGrant(config, next.refresh_token), invalidGrant);
  });

  test('client credentials, by Basic and by post', async () => {
    for (const auth of [oidc.ClientSecretBasic, oidc.ClientSecretPost]) {
      const client = await createClient({
        app_type: 'non_interactive', grant_types: ['client_credentials'],
        token_endpoint_auth_method: auth === oidc.ClientSecretBasic ? 'client_secret_basic' : 'client_secret_post',
      });
      await management.clientGrants.create({ client_id: client.client_id, audience: api.identifier, scope: ['read:orders', 'write:orders'] });
      const config = await discover(client, auth(client.client_secret));
      const tokens = await oidc.clientCredentialsGrant(config, { audience: api.identifier, scope: 'read:orders' });
      assert.equal(decode(tokens.access_token).claims.scope, 'read:orders');
      assert.equal(tokens.scope, 'read:orders');
    }
  });

  test('the second login of one browser needs no page; prompt=login, prompt=none', async () => {
    const config = await discover(confidential, oidc.ClientSecretBasic(confidential.client_secret));
    const browser = new PlainBrowser({ stopAt: callback });
    const first = await login(config, user, { scope: 'openid', max_age: '3600' }, browser);
    assert.ok(Number.isInteger(first.claims().auth_time));
    const request = (extra) =>
      oidc.buildAuthorizationUrl(config, { redirect_uri: callback, scope: 'openid', state: 's', code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', ...extra });
    for (const extra of [{}, { prompt: 'none' }]) {
      await browser.open(request(extra));
      assert.ok(browser.url.searchParams.get('code'), `${JSON.stringify(extra)}: ${browser.url}`);
    }
    await browser.open(request({ prompt: 'login' }));
    assert.ok(forms(browser.html).some((f) => Object.values(f.fields).some((field) => field.type === 'password')), 'prompt=login asks for the password');

    const stranger = new PlainBrowser({ stopAt: callback });
    await stranger.open(request({ prompt: 'none' }));
    assert.equal(stranger.url.searchParams.get('error'), 'login_required');
    assert.equal(stranger.url.searchParams.get('state'), 's');
  });

  test('logout at the end-session endpoint, and back', async () => {
    const config = await discover(confidential, oidc.ClientSecretBasic(confidential.client_secret));
    const browser = new PlainBrowser({ stopAt: 'https://app.example.com/' });
    const tokens = await login(config, user, { scope: 'openid' }, browser);
    await browser.open(oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: 'https://app.example.com/', state: 'bye' }));
    assert.equal(browser.url.href, 'https://app.example.com/?state=bye');
    await browser.open(oidc.buildAuthorizationUrl(config, { redirect_uri: callback, scope: 'openid', state: 's', prompt: 'none', code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' }));
    assert.equal(browser.url.searchParams.get('error'), 'login_required');
  });
});
