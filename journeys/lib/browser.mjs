// Headless Chromium that trusts what a person's browser would be told to trust: the
// issuer's certificate authority, in the profile's own certificate database.

import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { caFile, work } from './fixtures.mjs';
import { output, which } from './process.mjs';

// The last four keep it from looking for hosts outside of this machine.
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

// openBrowser starts a browser that trusts the issuer and the further certificate files.
export async function openBrowser({ trust = [] } = {}) {
  const home = await mkdtemp(join(work, 'home-'));
  const db = join(home, '.pki', 'nssdb');
  await mkdir(db, { recursive: true });
  await output('certutil', ['-d', `sql:${db}`, '-N', '--empty-password']);
  let n = 0;
  for (const file of [caFile, ...trust]) {
    await output('certutil', ['-d', `sql:${db}`, '-A', '-t', 'C,,', '-n', `journey ${n++}`, '-i', file]);
  }
  return chromium.launch({ executablePath: await which('chromium'), args: flags, env: { ...process.env, HOME: home } });
}

// selfSigned makes a certificate for localhost: {cert, key} are files. The page of a
// single-page application needs https where it wants cookies in a frame.
export async function selfSigned() {
  const dir = await mkdtemp(join(work, 'cert-'));
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await output('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=journey',
    '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert,
  ]);
  return { cert, key };
}

// landing is the redirect address of an application: a server that answers every request
// with an empty page. Returns {url, close}.
export function landing() {
  return new Promise((resolve, reject) => {
    const server = http.createServer((_, res) => {
      res.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><html lang="en"><title>landed</title><h1>landed</h1></html>');
    });
    server.on('error', reject);
    server.listen(0, 'localhost', () => {
      resolve({ url: `http://localhost:${server.address().port}/callback`, close: () => server.close() });
    });
  });
}

// identifier and password are the fields of the login and sign-up pages, found the way a
// password manager does.
export const identifierField = 'input[autocomplete~=username]';
export const identifier = (page) => page.locator(`${identifierField}:visible`).first();
export const password = (page) => page.locator('input[type=password]:visible').first();

// signIn fills in the login page the browser is on and consents if asked, until the
// browser is at an address that begins with until. Says whether there was a consent page.
export async function signIn(page, user, until) {
  await identifier(page).fill(user.email);
  if (!(await password(page).isVisible())) await page.keyboard.press('Enter'); // identifier first
  await password(page).fill(user.password);
  await page.keyboard.press('Enter');
  return consent(page, until);
}

// consent waits for the application, or accepts at the consent page on the way to it.
export async function consent(page, until) {
  const accept = page.getByRole('button', { name: /accept|allow/i });
  const arrived = page.waitForURL((url) => url.href.startsWith(until)).then(() => 'arrived');
  const asked = accept.waitFor().then(() => 'asked');
  arrived.catch(() => {}); // whichever loses ends with the page
  asked.catch(() => {});
  if ((await Promise.race([arrived, asked])) === 'arrived') return false;
  await accept.click();
  await arrived;
  return true;
}

// writeShot keeps a picture of the page, whole, at its present width.
export async function writeShot(page, dir, name) {
  await mkdir(dir, { recursive: true });
  const file = join(dir, `${name}.png`);
  await writeFile(file, await page.screenshot({ fullPage: true }));
  return file;
}
