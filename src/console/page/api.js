// Requests to the API, and their error messages.

/** @import {Change, Verdict} from './types' */

/** Offset of the server's clock to this one, in milliseconds. */
let ahead = 0;
/** Time on the server, which stamps all events. */
export const serverNow = () => Date.now() + ahead;

/** Said while no answer comes. */
export const UNREACHABLE = 'Server unreachable';

/** Error that the server answered with. */
export class Refused extends Error {
  /** @param {number} status @param {Record<string, unknown> | null} body */
  constructor(status, body) {
    super(String(body?.detail ?? body?.title ?? `Server error (HTTP ${status})`));
    this.status = status;
    this.body = body;
  }
}

/**
 * @template T
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<T>}
 */
export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(UNREACHABLE);
  }
  const date = Date.parse(response.headers.get('date') ?? '');
  // The header is in whole seconds: rounded up, so that no event is in the
  // future.
  if (!Number.isNaN(date)) ahead = date + 999 - Date.now();
  // The session has ended: reloading the page shows the login form.
  if (response.status === 401) location.reload();
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

/** User name sent with every action. */
export const who = {
  get name() { return localStorage.getItem('watchtower.who') ?? ''; },
  set name(name) { localStorage.setItem('watchtower.who', name); },
};

/**
 * @template T
 * @param {string} path
 * @param {object} body
 * @param {string} [method]
 * @returns {Promise<T>}
 */
export const send = (path, body, method = 'POST') => ask(path, {
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** Removes the suppression of a false positive. @param {string} lesson */
export const removeSuppression = (lesson) => ask(`/api/suppressions/${lesson}?by=${encodeURIComponent(who.name)}`, { method: 'DELETE' });

/** Restores a removed one. @param {string} lesson */
export const restoreSuppression = (lesson) => ask(`/api/suppressions/${lesson}/restore?by=${encodeURIComponent(who.name)}`, { method: 'POST' });

/** @param {string} id @param {string | null} owner @param {number} [version] @returns {Promise<Change>} */
export const assign = (id, owner, version) => send(`/api/incidents/${id}/owner`, { by: who.name, owner, version });

/** @param {string} id @param {string | null} until @param {number} [version] @returns {Promise<Change>} */
export const snooze = (id, until, version) => send(`/api/incidents/${id}/snooze`, { by: who.name, until, version });

/** Undoes the action that made this version. @param {string} id @param {number} version @returns {Promise<Change>} */
export const undo = (id, version) => send(`/api/incidents/${id}/undo`, { by: who.name, version });

/** @param {string} id @param {string} text @returns {Promise<Change>} */
export const annotate = (id, text) => send(`/api/incidents/${id}/notes`, { by: who.name, text });

/** @param {string} id @param {Omit<Verdict, 'by'>} verdict @returns {Promise<Change>} */
export const decide = (id, verdict) => send(`/api/incidents/${id}/status`, { by: who.name, ...verdict });
