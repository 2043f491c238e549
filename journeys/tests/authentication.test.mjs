// The official Node.js SDK's AuthenticationClient and UserInfoClient.

import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { AuthenticationClient, UserInfoClient } from 'auth0';
import { connectionName, createApi, createClient, createUser, decode, domain, issuer, management, randomValue } from '../lib/fixtures.mjs';
import { PlainBrowser } from '../lib/plain-browser.mjs';

const callback = 'https://app.example.com/callback';

describe('auth0: AuthenticationClient', () => {
  let api, client, user, authentication;

  before(async () => {
    api = await createApi();
    client = await createClient({
      app_type: 'regular_web',
      token_endpoint_auth_method: 'client_secret_post',
      callbacks: [callback],
      grant_types: ['authorization_code', 'client_credentials', 'http://auth0.com/oauth/grant-type/password-realm', 'refresh_token'],
      refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 0, token_lifetime: 86400, idle_token_lifetime: 3600 },
    });
    await management.clientGrants.create({ client_id: client.client_id, audience: api.identifier, scope: ['read:orders'] });
    user = await createUser();
    authentication = new AuthenticationClient({ domain, clientId: client.client_id, clientSecret: client.client_secret });
  });

  const refused = (status, error) => (err) => {
    assert.equal(err.name, 'AuthApiError');
    assert.equal(err.statusCode, status);
    assert.equal(err.error, error);
    return true;
  };

  test('client credentials', async () => {
    const { data } = await authentication.oauth.clientCredentialsGrant({ audience: api.identifier });
    assert.equal(data.token_type, 'Bearer');
    assert.equal(data.expires_in, 86400);
    const { header, claims } = decode(data.access_token);
    assert.equal(header.alg, 'RS256');
    assert.deepEqual([claims.iss, claims.aud, claims.sub, claims.gty, claims.scope], [issuer, api.identifier, `${client.client_id}@clients`, 'client-credentials', 'read:orders']);
    assert.equal(claims.exp - claims.iat, 86400);
    assert.equal(data.refresh_token, undefined);
  });

  test('a wrong secret, and an API nobody made', async () => {
    const wrong = new AuthenticationClient({ domain, clientId: client.client_id, clientSecret: randomValue() });
    await assert.rejects(wrong.oauth.clientCredentialsGrant({ audience: api.identifier }), refused(401, 'access_denied'));
    await assert.rejects(authentication.oauth.clientCredentialsGrant({ audience: 'https://nowhere.example/' }), refused(403, 'access_denied'));
  });

  test('private_key_jwt', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const machine = await createClient({
      app_type: 'non_interactive',
      grant_types: ['client_credentials'],
      client_authentication_methods: {
        private_key_jwt: { credentials: [{ credential_type: 'public_key', name: 'journey', pem: publicKey.export({ type: 'spki', format: 'pem' }), alg: 'RS256' }] },
      },
    });
    await management.clientGrants.create({ client_id: machine.client_id, audience: api.identifier, scope: ['read:orders'] });
    const signed = new AuthenticationClient({ domain, clientId: machine.client_id, clientAssertionSigningKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) });
    const { data } = await signed.oauth.clientCredentialsGrant({ audience: api.identifier });
    assert.equal(decode(data.access_token).claims.azp, machine.client_id);
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const forged = new AuthenticationClient({ domain, clientId: machine.client_id, clientAssertionSigningKey: other.export({ type: 'pkcs8', format: 'pem' }) });
    await assert.rejects(forged.oauth.clientCredentialsGrant({ audience: api.identifier }), (err) => err.statusCode === 401);
  });

  test('password realm, userinfo, refresh, reuse, revoke', async () => {
    const login = { username: user.email, password: user.password, realm: connectionName, audience: api.identifier, scope: 'openid profile email offline_access read:orders' };
    const first = (await authentication.oauth.passwordGrant(login)).data; // the SDK verifies the ID token
    const id = decode(first.id_token).claims;
    assert.deepEqual([id.sub, id.aud, id.email], [user.user_id, client.client_id, user.email]);
    assert.deepEqual(decode(first.access_token).claims.aud, [api.identifier, `${issuer}userinfo`]);

    const profile = (await new UserInfoClient({ domain }).getUserInfo(first.access_token)).data;
    assert.deepEqual([profile.sub, profile.email, profile.email_verified, profile.given_name], [user.user_id, user.email, true, 'Ada']);

    const second = (await authentication.oauth.refreshTokenGrant({ refresh_token: first.refresh_token })).data;
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.notEqual(second.access_token, first.access_token);
    assert.equal(decode(second.id_token).claims.sub, user.user_id);
    const narrow = (await authentication.oauth.refreshTokenGrant({ refresh_token: second.refresh_token, scope: 'read:orders' })).data;
    assert.equal(decode(narrow.access_token).claims.scope, 'read:orders');

    await assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token: first.refresh_token }), refused(403, 'invalid_grant'));
    await assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token: narrow.refresh_token }), refused(403, 'invalid_grant')); // the family fell

    const again = (await authentication.oauth.passwordGrant(login)).data;
    await authentication.oauth.revokeRefreshToken({ token: again.refresh_token });
    await assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token: again.refresh_token }), (err) => {
      assert.equal(err.error_description, 'Unknown or invalid refresh token.');
      return refused(403, 'invalid_grant')(err);
    });
  });

  test('a wrong password and a blocked user', async () => {
    const other = await createUser();
    const login = (password) => authentication.oauth.passwordGrant({ username: other.email, password, realm: connectionName, scope: 'openid offline_access' });
    await assert.rejects(login('wrong'), (err) => {
      assert.equal(err.error_description, 'Wrong email or password.');
      return refused(403, 'invalid_grant')(err);
    });
    const { data } = await login(other.password);
    await management.users.update(other.user_id, { blocked: true });
    await assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token }), (err) => {
      assert.match(err.error_description, /user is blocked/);
      return refused(403, 'unauthorized')(err);
    });
    await management.users.update(other.user_id, { blocked: false });
    assert.ok((await authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token })).data.access_token, 'unblocking restores it');
  });

  test('authorization code with PKCE', async () => {
    const [code_verifier, state, nonce] = [randomValue(), randomValue(), randomValue()];
    const url = new URL('authorize', issuer);
    url.search = new URLSearchParams({
      client_id: client.client_id, redirect_uri: callback, response_type: 'code', scope: 'openid email offline_access', audience: api.identifier, state, nonce,
      code_challenge: createHash('sha256').update(code_verifier).digest('base64url'), code_challenge_method: 'S256',
    });
    const back = await new PlainBrowser({ stopAt: callback }).login(url, user);
    assert.equal(back.searchParams.get('state'), state);
    assert.equal(back.searchParams.get('iss'), issuer);
    const code = back.searchParams.get('code');
    const { data } = await authentication.oauth.authorizationCodeGrantWithPKCE({ code, code_verifier, redirect_uri: callback }, { idTokenValidateOptions: { nonce } });
    assert.equal(decode(data.id_token).claims.nonce, nonce);
    assert.ok(data.refresh_token);
    await assert.rejects(authentication.oauth.authorizationCodeGrantWithPKCE({ code, code_verifier, redirect_uri: callback }, { idTokenValidateOptions: { nonce } }), refused(403, 'invalid_grant'));
    await assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token }), refused(403, 'invalid_grant')); // RFC 6749 §4.1.2
  });
});
