// The server's own pages as people meet them: at a desk and on a telephone, with the
// keyboard alone, without script, and as axe sees them. The pictures are for looking at.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';
import { consent, identifier, identifierField, landing, openBrowser, password, signIn, writeShot } from '../lib/browser.mjs';
import { createClient, createUserWithCommand, issuer, newPassword, randomValue, screenshots, unique } from '../lib/fixtures.mjs';

const sizes = [
  { name: '1280', viewport: { width: 1280, height: 800 } },
  { name: '390', viewport: { width: 390, height: 844 } },
];

let browser, callback, client, thirdParty, user;

before(async () => {
  callback = await landing();
  const fields = { app_type: 'regular_web', token_endpoint_auth_method: 'client_secret_post', grant_types: ['authorization_code', 'refresh_token'], callbacks: [callback.url] };
  client = await createClient(fields);
  thirdParty = await createClient({ ...fields, name: `Orders Reader ${unique()}`, is_first_party: false });
  user = await createUserWithCommand();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  callback?.close();
});

// authorize is the address of an authorization request. PKCE: third parties always need it.
function authorize(app, extra = {}) {
  const url = new URL('authorize', issuer);
  url.search = new URLSearchParams({
    client_id: app.client_id, redirect_uri: callback.url, response_type: 'code', scope: 'openid profile email',
    state: randomValue(), code_challenge: randomValue(), code_challenge_method: 'S256', ...extra,
  });
  return url.href;
}

// look takes the picture of the page, and finds what a person would trip over.
async function look(page, name) {
  await writeShot(page, screenshots, name);
  const { wide, title, lang } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    title: document.title,
    lang: document.documentElement.lang,
  }));
  assert.equal(wide, 0, `${name} is ${wide} pixels too wide`);
  assert.notEqual(title, '', `${name} has no title`);
  assert.notEqual(lang, '', `${name} does not say its language`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const faults = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  const list = faults.map((v) => `${v.impact} ${v.id}: ${v.help}\n${v.nodes.map((n) => `  ${n.html}`).join('\n')}`);
  assert.deepEqual(list, [], `axe on ${name}`);
}

// open gives f a new page (no session) of a size, and closes it.
async function open(options, f) {
  const context = await browser.newContext(options);
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    await f(page);
  } finally {
    await context.close();
  }
}

for (const { name, viewport } of sizes) {
  describe(`at ${name} pixels`, () => {
    test('login, wrong password, login', () =>
      open({ viewport }, async (page) => {
        await page.goto(authorize(client));
        await look(page, `login-${name}`);
        await identifier(page).fill(user.email);
        await password(page).fill('not the password');
        await page.keyboard.press('Enter');
        await page.getByRole('alert').filter({ hasText: /\S/ }).waitFor();
        await look(page, `login-wrong-${name}`);
        assert.equal(await password(page).inputValue(), '', 'a wrong password is not sent back');
        await signIn(page, user, callback.url);
        assert.ok(new URL(page.url()).searchParams.get('code'), 'a code');
      }));

    test('sign-up', () =>
      open({ viewport }, async (page) => {
        await page.goto(authorize(client, { screen_hint: 'signup' }));
        await look(page, `signup-${name}`);
        await identifier(page).fill(`new-${unique()}@example.com`);
        await password(page).fill(newPassword());
        await page.keyboard.press('Enter');
        await consent(page, callback.url);
        assert.ok(new URL(page.url()).searchParams.get('code'), 'a code');
      }));

    test('consent to a third party, declined', () =>
      open({ viewport }, async (page) => {
        await page.goto(authorize(thirdParty));
        await identifier(page).fill(user.email);
        await password(page).fill(user.password);
        await page.keyboard.press('Enter');
        const decline = page.getByRole('button', { name: /decline|deny|cancel/i });
        await decline.waitFor();
        await look(page, `consent-${name}`);
        assert.match(await page.locator('body').innerText(), new RegExp(thirdParty.name), 'the page names the application (SEC-41)');
        await decline.click();
        await page.waitForURL((url) => url.href.startsWith(callback.url));
        assert.equal(new URL(page.url()).searchParams.get('error'), 'access_denied');
      }));

    test('an error page, for a client nobody knows', () =>
      open({ viewport }, async (page) => {
        const answer = await page.goto(authorize({ client_id: 'nobody' }));
        assert.ok(answer.status() >= 400 && answer.status() < 500, `status ${answer.status()}`);
        await look(page, `error-${name}`);
      }));
  });
}

test('a callback that is not registered is never redirected to', () =>
  open({}, async (page) => {
    const answer = await page.goto(authorize(client, { redirect_uri: 'https://elsewhere.example/callback' }));
    assert.equal(answer.status(), 403);
    assert.ok(page.url().startsWith(issuer), page.url());
  }));

test('login with the keyboard alone', () =>
  open({}, async (page) => {
    await page.goto(authorize(client));
    // reach presses Tab until a field that matches has the focus, which must be seen.
    const reach = async (selector) => {
      for (let i = 0; i < 30; i++) {
        const at = await page.evaluate((s) => {
          const e = document.activeElement;
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(e);
          return { found: e.matches(s), seen: (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none' };
        }, selector);
        if (at.found) return assert.ok(at.seen, `the focus on ${selector} cannot be seen`);
        await page.keyboard.press('Tab');
      }
      assert.fail(`Tab never reaches ${selector}`);
    };
    await reach(identifierField);
    await page.keyboard.type(user.email);
    await reach('input[type=password]');
    await page.keyboard.type(user.password);
    await reach('button[type=submit], button:not([type])');
    await page.keyboard.press('Enter');
    const answered = page.waitForURL((url) => url.href.startsWith(callback.url)).then(() => 'arrived');
    const asked = page.getByRole('button', { name: /accept|allow/i }).waitFor().then(() => 'asked');
    answered.catch(() => {});
    asked.catch(() => {});
    if ((await Promise.race([answered, asked])) === 'asked') {
      for (let i = 0; i < 30; i++) {
        if (await page.evaluate(() => /accept|allow/i.test(document.activeElement.innerText ?? ''))) break;
        await page.keyboard.press('Tab');
      }
      await page.keyboard.press('Enter');
    }
    await answered;
    assert.ok(new URL(page.url()).searchParams.get('code'), 'a code');
  }));

test('login with script switched off', () =>
  open({ javaScriptEnabled: false }, async (page) => {
    await page.goto(authorize(client));
    await signIn(page, user, callback.url);
    assert.ok(new URL(page.url()).searchParams.get('code'), 'a code');
  }));
