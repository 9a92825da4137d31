// Desktop notifications and sound for incidents: what is wanted is kept in the
// browser, for all of its tabs, of which one notifies.

import { serverNow } from './api.js';
import { claim } from './claims.js';
import { SEVERITIES } from './dom.js';

/** @import {Change, Severity} from './types' */

/**
 * @typedef {object} Wanted
 * @property {boolean} desktop
 * @property {boolean} sound
 * @property {Severity} severity The lowest that notifies.
 * @property {string[]} streams Empty for all.
 * @property {number} since Time since which new incidents notify.
 */
/** @typedef {'desktop' | 'sound'} Channel */
/** @typedef {{severity: Severity, revision: number}} Notified */

const WANTED = 'watchtower.notifications';
const NOTIFIED = 'watchtower.notified';
/** Incidents remembered: enough for the longest outage that is made up for. */
const MOST = 500;
/** Age in ms up to which a new incident notifies after an outage: later it is no news but a list. */
const FRESH = 15 * 60_000;
/** Changes that notify again. */
const AGAIN = ['reopened', 'returned'];

/** @template T @param {string} key @param {T} otherwise @returns {T} */
function stored(key, otherwise) {
  try {
    return { ...otherwise, ...JSON.parse(localStorage.getItem(key) ?? '{}') };
  } catch {
    return otherwise;
  }
}

/** @returns {Wanted} */
export const wanted = () => stored(WANTED, { desktop: false, sound: false, severity: 'critical', streams: [], since: 0 });

/** @type {() => void} */
let adapt = () => {};
/** @type {(id: string) => void} */
let open = () => {};

/** @param {Partial<Wanted>} change */
export function want(change) {
  // What began before is no news. The server's clock is known to the second.
  localStorage.setItem(WANTED, JSON.stringify({ ...wanted(), ...change, since: serverNow() - 1000 }));
  prepareSound();
  adapt();
}

/** True if the browser notifies. */
export const isOn = () => wanted().sound || wanted().desktop && permission() === 'granted';

/** State of the browser's permission. @returns {'insecure' | 'unsupported' | NotificationPermission} */
export function permission() {
  if (!isSecureContext) return 'insecure';
  return 'Notification' in window ? Notification.permission : 'unsupported';
}

/**
 * @param {() => void} adapted Called after a change, by another tab too.
 * @param {(id: string) => void} opened Shows an incident.
 */
export function prepareNotifications(adapted, opened) {
  adapt = adapted;
  open = opened;
  addEventListener('storage', ({ key }) => {
    if (key !== WANTED) return;
    prepareSound();
    adapt();
  });
  // A sound needs one use of the page before it.
  for (const used of ['pointerdown', 'keydown']) addEventListener(used, prepareSound, { capture: true });
  prepareSound();
}

/** Notifies of a change, where that is wanted. @param {Change} change */
export async function notifyOf(change) {
  const settings = wanted();
  const { incident: { id, title, severity, stream } } = change;
  if (settings.desktop && permission() === 'granted' && await claimed('desktop', change, settings)) await show(`${severity[0].toUpperCase()}${severity.slice(1)}: ${title}`, `Stream ${stream}`, severity, id);
  // Left to a tab that can be heard.
  if (settings.sound && isAudible() && await claimed('sound', change, settings)) play(severity);
}

/** Test of all that is on; what was done, in words. */
export async function test() {
  const { desktop, sound } = wanted();
  const done = [];
  if (desktop && permission() === 'granted') {
    await show('Test notification', 'Watchtower', 'info', '');
    done.push('Notification sent. If none appears, check the do-not-disturb mode and notification settings of the system.');
  }
  if (sound) {
    await audio?.resume();
    play('critical');
    done.push('Sound played.');
  }
  return done.join(' ') || 'Desktop notifications and sound are off.';
}

/** @param {Change} change @param {Wanted} settings @param {Notified | undefined} before */
function isDue({ incident, change, loud, revision }, settings, before) {
  const { status, severity, stream, first_seen, snoozed_until } = incident;
  const rank = (/** @type {Severity} */ one) => SEVERITIES.indexOf(one);
  if (status !== 'new' || rank(severity) < rank(settings.severity)) return false;
  if (settings.streams.length > 0 && !settings.streams.includes(stream)) return false;
  const now = serverNow();
  if (snoozed_until && Date.parse(snoozed_until) > now) return false;
  if (before) return revision > before.revision && (rank(severity) > rank(before.severity) || AGAIN.includes(change));
  // After an outage the last change of a new incident may be any.
  const began = Date.parse(first_seen);
  return began > Math.max(settings.since, now - FRESH) || loud && ['severity_rose', ...AGAIN].includes(change);
}

/** True in one tab alone, if a change is to notify. @param {Channel} channel @param {Change} change @param {Wanted} settings */
async function claimed(channel, change, settings) {
  const { incident: { id, severity }, revision } = change;
  /** @param {Notified | undefined} before */
  const decide = (before) => (isDue(change, settings, before) ? { severity, revision } : null);
  const claimIt = () => claim(`${channel} ${id}`, decide, MOST);
  // In the order of the events. Locks need HTTPS, as notifications do; sound does not.
  return navigator.locks ? navigator.locks.request(NOTIFIED, claimIt) : claimIt();
}

/**
 * @param {string} title
 * @param {string} body
 * @param {Severity} severity
 * @param {string} id Of an incident; empty for a test.
 */
async function show(title, body, severity, id) {
  const options = { body, tag: id || 'test', renotify: true, requireInteraction: severity === 'critical', icon: '/page/icon.svg', silent: wanted().sound };
  try {
    const notification = new Notification(title, options);
    notification.onclick = () => {
      window.focus();
      notification.close();
      if (id) open(id);
    };
  } catch {
    // Phones show those of a service worker only.
    const worker = await navigator.serviceWorker?.getRegistration();
    await worker?.showNotification(title, { ...options, data: { incident: id } });
  }
}

/** @type {AudioContext | null} */
let audio = null;

/** Gets the sound ready, where it is on. */
function prepareSound() {
  if (!wanted().sound) return;
  audio ??= new AudioContext();
  if (audio.state === 'suspended') audio.resume().catch(() => {});
}

/** False while the browser waits for a use of this page. */
export const isAudible = () => audio?.state === 'running';

/** Pulses of a tone: three for the worst, two for the next, one. @param {Severity} severity */
function play(severity) {
  if (!audio) return;
  const pulses = { critical: 3, high: 2 }[String(severity)] ?? 1;
  for (let nth = 0; nth < pulses; nth += 1) {
    const [tone, volume, start] = [audio.createOscillator(), audio.createGain(), audio.currentTime + nth * 0.25];
    tone.frequency.value = severity === 'critical' ? 880 : 660;
    volume.gain.setValueAtTime(0.0001, start);
    volume.gain.exponentialRampToValueAtTime(0.25, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.2);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.22);
  }
}
