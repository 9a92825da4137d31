// Token of a share link: from the fragment of the address, out of which it is
// taken at once, as the address may be seen on the screen that is shared.

import { UNREACHABLE } from './api.js';

/** @import {ShareSession} from './types' */

/** Stream that this page shares as. */
export const stream = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const base = `/api/share/${encodeURIComponent(stream)}`;
const KEPT = `watchtower.share.${stream}`;

/** Error that the server answered a holder with. */
export class ShareRefused extends Error {
  /** @param {number} status @param {string} why */
  constructor(status, why) {
    super(why);
    this.status = status;
  }

  /** True if the link does not open this page any more, or never did. */
  get isFinal() {
    return [401, 403, 410].includes(this.status);
  }
}

/** Token of the link, or of the session that used it up; it stays for a reload of this tab. */
export const held = {
  get token() { return sessionStorage.getItem(KEPT) ?? ''; },
  set token(token) { sessionStorage.setItem(KEPT, token); },
};

/** Takes the token out of the address; true if there was one. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) held.token = token;
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  return Boolean(token);
}

/**
 * @template T
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<T>}
 */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      ...options,
      headers: { ...options.headers, ...held.token && { authorization: `Bearer ${held.token}` } },
      signal: AbortSignal.timeout(10_000),
    });
  } catch {
    throw new Error(UNREACHABLE);
  }
  if (response.status === 204) return /** @type {T} */ (null);
  if (response.headers.get('content-type')?.startsWith('image/')) return /** @type {T} */ (await response.blob());
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ShareRefused(response.status, body?.detail ?? `server error (HTTP ${response.status})`);
  return body;
}

/** @param {object} body */
const json = (body) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** @returns {Promise<ShareSession>} */
export const session = () => request(base);

/** Newest picture that analysts get. @returns {Promise<Blob>} */
export const still = () => request(`${base}/latest.jpg`);

/** @param {boolean} paused @returns {Promise<null>} */
export const setPaused = (paused) => request(`${base}/paused`, { method: 'PUT', ...json({ paused }) });

/** True if this browser may make links: an operator's, signed in. */
export async function mayMake() {
  const response = await fetch('/api/shares').catch(() => null);
  return response?.ok === true;
}

/** Begins a session: an operator makes a link for it first, and one for a single session is exchanged. */
export async function begin() {
  if (!held.token) {
    /** @type {{token: string}} */
    const made = await request('/api/shares', { method: 'POST', ...json({ stream, uses: 'once', findings: true }) });
    held.token = made.token;
  }
  /** @type {{token: string | null}} */
  const { token } = await request(`${base}/session`, { method: 'POST' });
  if (token) held.token = token;
}
