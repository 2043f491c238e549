// Serves the page in ./public, the official SDK from node_modules and the settings as
// /config.json. No dependency beyond the SDK.
//
//   node serve.mjs --client-id ID --audience https://api.example [--domain localhost:8443]
//                  [--api http://localhost:3001/private] [--port 3000] [--no-refresh-tokens]
//                  [--cert FILE --key FILE]

import { readFile } from 'node:fs/promises';
import { readFileSync, realpathSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));

// The whole site: anything else is 404, so no path of the request reaches the disk.
const files = {
  '/': ['public/index.html', 'text/html; charset=utf-8'],
  '/app.js': ['public/app.js', 'text/javascript; charset=utf-8'],
  '/style.css': ['public/style.css', 'text/css; charset=utf-8'],
};

// spaServer makes the server, not yet listening. settings is read on every request:
// {domain, clientId, audience, scope, api, refreshTokens}. sdk is the path of the SDK's
// bundle; tls, if given, is {cert, key}.
export function spaServer(settings, { sdk, tls } = {}) {
  const bundle = sdk ?? join(dirname(createRequire(import.meta.url).resolve('@auth0/auth0-spa-js/package.json')), 'dist/auth0-spa-js.production.js');
  const handle = async (req, res) => {
    const { pathname } = new URL(req.url, 'http://localhost');
    res.setHeader('Content-Security-Policy', policy(settings));
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.setHeader('Cache-Control', 'no-store');
    try {
      if (req.method !== 'GET') {
        res.writeHead(405).end();
      } else if (pathname === '/config.json') {
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(settings));
      } else if (pathname === '/auth0-spa-js.js') {
        res.writeHead(200, { 'Content-Type': 'text/javascript; charset=utf-8' }).end(await readFile(bundle));
      } else if (Object.hasOwn(files, pathname)) {
        const [file, type] = files[pathname];
        res.writeHead(200, { 'Content-Type': type }).end(await readFile(join(here, file)));
      } else {
        res.writeHead(404).end('not found');
      }
    } catch (err) {
      res.writeHead(500).end('error');
      console.error(`${pathname}: ${err.message}`);
    }
  };
  return tls ? https.createServer(tls, handle) : http.createServer(handle);
}

// policy allows the page what it needs: its own files, the SDK's worker (made from a
// blob), the issuer in a hidden frame, and requests to the issuer and the API.
function policy({ domain, api }) {
  const issuer = `https://${domain}`;
  return [
    "default-src 'self'",
    `connect-src 'self' ${issuer} ${api ? new URL(api).origin : ''}`,
    `frame-src ${issuer}`,
    "worker-src blob:",
    "img-src 'self' data:",
    "frame-ancestors 'self'", // the answer of a silent login comes back into a frame of this page
    "base-uri 'none'",
    "object-src 'none'",
  ].join('; ');
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      domain: { type: 'string', default: 'localhost:8443' },
      'client-id': { type: 'string' },
      audience: { type: 'string' },
      scope: { type: 'string', default: 'openid profile email' },
      api: { type: 'string', default: 'http://localhost:3001/private' },
      port: { type: 'string', default: '3000' },
      'no-refresh-tokens': { type: 'boolean', default: false },
      cert: { type: 'string' },
      key: { type: 'string' },
    },
  });
  if (!values['client-id']) {
    console.error('serve.mjs: --client-id is needed: the id of a single-page application of your issuer');
    process.exit(2);
  }
  const settings = {
    domain: values.domain,
    clientId: values['client-id'],
    audience: values.audience,
    scope: values.scope,
    api: values.api,
    refreshTokens: !values['no-refresh-tokens'],
  };
  const tls = values.cert && { cert: readFileSync(values.cert), key: readFileSync(values.key) };
  spaServer(settings, { tls }).listen(Number(values.port), 'localhost', () => {
    console.log(`spa: ready ${tls ? 'https' : 'http'}://localhost:${values.port}/`);
  });
}
