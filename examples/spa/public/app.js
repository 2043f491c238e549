// The page: everything about tokens is the official SDK's work. With refresh tokens (the
// default) they live in the memory of a Web Worker, out of this script's reach; without,
// a token is renewed in a hidden frame, which works only where page and issuer are one
// site (https, the same registrable domain).

const $ = (id) => document.getElementById(id);
const config = await (await fetch('/config.json')).json();

const client = new auth0.Auth0Client({
  domain: config.domain,
  clientId: config.clientId,
  useRefreshTokens: config.refreshTokens,
  cacheLocation: 'memory',
  authorizationParams: {
    redirect_uri: location.origin,
    audience: config.audience,
    scope: config.scope,
  },
});

// claims decodes the payload to show it. It checks nothing: that is the API's job.
function claims(token) {
  const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0))));
}

function show(user) {
  $('status').textContent = user ? 'signed in' : 'signed out';
  $('user').textContent = user ? `as ${user.email ?? user.sub}` : '';
  $('login').disabled = Boolean(user);
  for (const id of ['token', 'refresh', 'call-api', 'logout']) $(id).disabled = !user;
}

// on runs action when the button is pressed and shows what went wrong.
function on(id, action) {
  $(id).addEventListener('click', async () => {
    $('error').textContent = '';
    try {
      await action();
    } catch (err) {
      $('error').textContent = err.error ? `${err.error}: ${err.error_description ?? err.message}` : err.message;
    }
  });
}

on('login', () => client.loginWithRedirect());
on('logout', () => client.logout({ logoutParams: { returnTo: location.origin } }));
on('token', async () => {
  $('claims').textContent = JSON.stringify(claims(await client.getTokenSilently()), null, 2);
});
on('refresh', async () => {
  const token = await client.getTokenSilently({ cacheMode: 'off' });
  $('claims').textContent = JSON.stringify(claims(token), null, 2);
});
on('call-api', async () => {
  const token = await client.getTokenSilently();
  const answer = await fetch(config.api, { headers: { Authorization: `Bearer ${token}` } });
  $('api-result').textContent = `${answer.status} ${await answer.text()}`;
});

try {
  const query = new URLSearchParams(location.search);
  if (query.has('state') && (query.has('code') || query.has('error'))) {
    await client.handleRedirectCallback();
    history.replaceState(null, '', '/');
  } else {
    await client.checkSession();
  }
} catch (err) {
  $('error').textContent = `${err.error ?? 'error'}: ${err.error_description ?? err.message}`;
}
show(await client.getUser());
