// A browser without script, style or pictures: it keeps cookies, follows redirects and
// fills in plain HTML forms. With it the login pages are proven to need no script.

import https from 'node:https';
import { readFileSync } from 'node:fs';

const named = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const unescape = (s) =>
  s.replace(/&(#x[0-9a-f]+|#\d+|[a-z]+);/gi, (all, e) => {
    if (e[0] !== '#') return named[e.toLowerCase()] ?? all;
    return String.fromCodePoint(e[1].toLowerCase() === 'x' ? parseInt(e.slice(2), 16) : parseInt(e.slice(1), 10));
  });

// attributes of the tag whose inside is text, names in lower case.
function attributes(text) {
  const out = {};
  for (const [, name, , double, single, bare] of text.matchAll(/([^\s=/"'>]+)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g)) {
    out[name.toLowerCase()] = unescape(double ?? single ?? bare ?? '');
  }
  return out;
}

// forms are the forms of an HTML page: {action, method, fields, buttons}. fields maps names
// to {type, value, autocomplete}; buttons is a list of {name, value, text} that submit.
export function forms(html) {
  const out = [];
  for (const [, tag, body] of html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)) {
    const { action = '', method = 'get' } = attributes(tag);
    const fields = {};
    const buttons = [];
    for (const [, tag2] of body.matchAll(/<input\b([^>]*)>/gi)) {
      const { name, value = '', type = 'text', autocomplete = '', ...rest } = attributes(tag2);
      if (type === 'submit') buttons.push({ name, value, text: value });
      else if (name && !((type === 'checkbox' || type === 'radio') && !('checked' in rest))) fields[name] = { type, value, autocomplete };
    }
    for (const [, tag2, inside] of body.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)) {
      const { name, value = '', type = 'submit' } = attributes(tag2);
      if (type === 'submit') buttons.push({ name, value, text: unescape(inside.replace(/<[^>]*>/g, '')).trim() });
    }
    out.push({ action, method: method.toLowerCase(), fields, buttons });
  }
  return out;
}

export class PlainBrowser {
  #cookies = new Map(); // origin → name → value
  #ca = readFileSync(process.env.CA_FILE);
  url;
  status;
  headers;
  html;

  // stopAt is a prefix: a redirect to an address that begins with it is not followed but
  // returned as the current address, as the application there would see it.
  constructor({ stopAt }) {
    this.stopAt = stopAt;
  }

  async open(url) {
    await this.#navigate('GET', new URL(url));
  }

  // submit fills in a form and presses a button. values replaces fields by name; button
  // picks one by its text, else the first.
  async submit(form, values = {}, button) {
    const data = new URLSearchParams();
    for (const [name, { value }] of Object.entries(form.fields)) data.set(name, values[name] ?? value);
    for (const name of Object.keys(values)) if (!(name in form.fields)) throw new Error(`the form has no field ${name}`);
    const pressed = button ? form.buttons.find((b) => button.test(b.text)) : form.buttons[0];
    if (button && !pressed) throw new Error(`no button ${button} among ${form.buttons.map((b) => b.text).join(', ')}`);
    if (pressed?.name) data.set(pressed.name, pressed.value);
    const target = new URL(form.action || this.url, this.url);
    if (form.method === 'post') return this.#navigate('POST', target, data.toString());
    target.search = data.toString();
    return this.#navigate('GET', target);
  }

  async #navigate(method, url, body) {
    for (let hops = 0; hops < 20; hops++) {
      if (this.stopAt && url.href.startsWith(this.stopAt)) {
        Object.assign(this, { url, status: undefined, html: undefined });
        return;
      }
      const res = await this.#request(method, url, body);
      Object.assign(this, { url, status: res.status, headers: res.headers, html: res.body });
      if (res.status < 300 || res.status > 399 || !res.headers.location) return;
      if (res.status !== 307 && res.status !== 308) [method, body] = ['GET', undefined];
      url = new URL(res.headers.location, url);
    }
    throw new Error('more than 20 redirects');
  }

  #request(method, url, body) {
    const jar = this.#cookies.get(url.origin) ?? new Map();
    this.#cookies.set(url.origin, jar);
    const headers = {
      Accept: 'text/html,application/xhtml+xml',
      'User-Agent': 'PlainBrowser/1',
      'Sec-Fetch-Site': this.url?.origin === url.origin ? 'same-origin' : 'none',
      'Sec-Fetch-Mode': 'navigate',
      'Sec-Fetch-Dest': 'document',
      'Sec-Fetch-User': '?1',
    };
    if (jar.size > 0) headers.Cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    if (body !== undefined) {
      headers['Content-Type'] = 'application/x-www-form-urlencoded';
      headers.Origin = this.url.origin;
    }
    return new Promise((resolve, reject) => {
      const req = https.request(url, { method, headers, ca: this.#ca }, (res) => {
        for (const line of res.headers['set-cookie'] ?? []) {
          const [pair, ...rest] = line.split(';');
          const name = pair.slice(0, pair.indexOf('=')).trim();
          const gone = rest.some((a) => /^\s*max-age\s*=\s*(0|-\d+)\s*$/i.test(a));
          if (gone) jar.delete(name);
          else jar.set(name, pair.slice(pair.indexOf('=') + 1));
        }
        let text = '';
        res.setEncoding('utf8').on('data', (s) => (text += s));
        res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: text }));
        res.on('error', reject);
      });
      req.on('error', reject);
      req.end(body);
    });
  }

  // login opens an authorization request, signs in and consents if asked, and returns the
  // address of the application that the browser was sent to.
  async login(url, { email, password }) {
    await this.open(url);
    for (let pages = 0; pages < 6 && this.html !== undefined; pages++) {
      const form = forms(this.html).find((f) => f.method === 'post');
      if (!form) throw new Error(`no form to post at ${this.url.pathname} (status ${this.status}):\n${this.html.slice(0, 2000)}`);
      const secret = fieldOf(form, (f) => f.type === 'password');
      const login = fieldOf(form, (f) => f.autocomplete.split(' ').includes('username'));
      if (secret || login) await this.submit(form, { ...(login && { [login]: email }), ...(secret && { [secret]: password }) });
      else await this.submit(form, {}, /accept|allow|continue|authorize/i);
    }
    if (this.html !== undefined) throw new Error(`still at ${this.url.pathname} (status ${this.status}):\n${this.html.slice(0, 2000)}`);
    return this.url;
  }
}

const fieldOf = (form, match) => Object.keys(form.fields).find((name) => match(form.fields[name]));
