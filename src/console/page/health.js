// Health of analysts, integrations, streams and OCR: a mark in the header, and
// the list behind it.

import { ask } from './api.js';
import { at, el, fill, refill } from './dom.js';
import { ago, clock } from './format.js';

/** @import {Health, List} from './types' */

/** Interval of requests in ms. */
const EVERY = 5000;

/** Marks that differ by shape too. @type {Record<Health['health'], [mark: string, word: string]>} */
const MARKS = { ok: ['●', 'OK'], idle: ['○', 'idle'], degraded: ['▲', 'degraded'], down: ['✕', 'down'] };
/** @type {Record<Health['kind'], string>} */
const KINDS = { analyst: 'Analysts', remote_analyst: 'Remote analysts', integration: 'Integrations', reader: 'Screen reader', stream: 'Streams' };
/** From good to bad. @type {Health['health'][]} */
const WORSE = ['ok', 'idle', 'degraded', 'down'];

/** @type {Health[]} */
let parts = [];
/** @type {() => void} */
let tell = () => {};
/** @type {Promise<void>} */
const known = new Promise((resolve) => { tell = resolve; });
let drawn = '';
/** @type {() => void} */
let changed = () => {};

/** @param {Health['health']} health */
export const dot = (health) => el('span', { class: 'dot', 'data-health': health },
  el('span', { 'aria-hidden': 'true' }, MARKS[health][0]), el('span', { class: 'unseen' }, `${MARKS[health][1]} `));

/** State in words, without the number that an error has in the system. @param {string} detail */
export const stateWords = (detail) => detail.replace(/ \(os error \d+\)/g, '');

/** Health of an analyst; undefined before it is known. @param {string} name */
export const analystHealth = (name) => parts.find((part) => part.kind.endsWith('analyst') && part.name === name)?.health;

/** True if an analyst runs elsewhere, once that is known: what it reports comes before its health. @param {string} name */
export async function isRemote(name) {
  await known;
  return !parts.some((part) => part.kind === 'analyst' && part.name === name);
}

/** Requests the health, again and again while the page is seen. @param {() => void} whenChanged */
export function watchHealth(whenChanged) {
  changed = whenChanged;
  look();
  setInterval(() => document.hidden || look(), EVERY);
  document.addEventListener('visibilitychange', () => document.hidden || look());
}

async function look() {
  try {
    /** @type {List<Health>} */
    const { items } = await ask('/api/health');
    parts = items;
    tell();
  } catch {
    // The connection's own notice says so.
    return;
  }
  const now = JSON.stringify(parts);
  if (now === drawn) return;
  drawn = now;
  show();
  changed();
}

/** @param {Health[]} some */
const worst = (some) => some.map(({ health }) => health).reduce((one, other) => (WORSE.indexOf(other) > WORSE.indexOf(one) ? other : one), 'ok');

function show() {
  const analysts = parts.filter(({ kind }) => kind === 'analyst');
  const good = analysts.filter(({ health }) => health === 'ok' || health === 'idle').length;
  const faulty = parts.filter(({ kind, health }) => kind !== 'analyst' && (health === 'degraded' || health === 'down'));
  const first = analysts.length > 0
    ? part(worst(analysts), `Analysts ${good}/${analysts.length}`, good === 0)
    : part('idle', 'No analysts', false);
  // All that is well is in the list only.
  refill(at('pulse'), first, ...faulty.map(({ kind, name, health }) => part(health, kind === 'reader' ? name : `${kind === 'stream' ? 'Stream' : 'Integration'} ${name}`, health === 'down')));
  at('pulse').hidden = false;
  const groups = /** @type {Health['kind'][]} */ (Object.keys(KINDS)).map((kind) => {
    const own = parts.filter((part) => part.kind === kind);
    return own.length > 0 && el('section', {}, el('h3', {}, KINDS[kind]), el('ul', {}, ...own.map(line)));
  });
  fill(at('parts'), el('h2', {}, 'Health'), ...groups);
}

/** @param {Health['health']} health @param {string} text @param {boolean} alarming */
const part = (health, text, alarming) => el('span', { class: 'part', 'data-alarming': alarming }, dot(health), text);

/** @param {Health} health */
const line = ({ name, health, detail, since }) => el('li', {}, dot(health), ' ', el('b', {}, name), ` ${MARKS[health][1]}`,
  ...(since ? [' since ', clock(since), ' (', ago(since), ')'] : []), el('span', { class: 'quiet detail' }, stateWords(detail)));
