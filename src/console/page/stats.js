// Statistics of the stream that is shown: what arrives, and the time from a
// picture to its findings.

import { ask } from './api.js';
import { at, el, fill } from './dom.js';
import { dot } from './health.js';
import { duration } from './format.js';

/** @import {Finding, Health, List, StreamStats} from './types' */

/** Interval of requests in ms. */
const EVERY = 2000;
/** Findings whose time is remembered, of each stream; and streams. */
const [MOST, MOST_STREAMS] = [20, 64];
/** Age in ms of findings that count: older ones say nothing of now. */
const RECENT = 10 * 60_000;
/** Name of the findings of the server itself, which are of no picture. */
const SERVER = 'Watchtower';

/** @typedef {{label: string, value: string, health?: Health['health'], reason?: string}} Row */
/** @typedef {{at: number, took: number}} Delay */

/** Time that a UUIDv7 was made (RFC 9562, section 5.7), in ms. @param {string} id */
const madeAt = (id) => parseInt(id.replaceAll('-', '').slice(0, 12), 16);

/** Times from picture to finding, by stream. @type {Map<string, Delay[]>} */
const delays = new Map();

/** @param {Finding} finding */
export function measure({ id, stream, agent, observed_at }) {
  const at = madeAt(id);
  const took = at - Date.parse(observed_at);
  if (agent === SERVER || !(took >= 0)) return;
  const all = delays.get(stream) ?? [];
  if (!delays.has(stream) && delays.size >= MOST_STREAMS) return;
  all.push({ at, took });
  all.sort((one, other) => one.at - other.at);
  delays.set(stream, all.slice(-MOST));
}

/** Median time from picture to finding in seconds; null without recent findings. @param {string} stream @param {number} now */
function latency(stream, now) {
  const took = (delays.get(stream) ?? []).filter(({ at }) => now - at < RECENT).map(({ took }) => took).sort((one, other) => one - other);
  return took.length > 0 ? took[Math.floor(took.length / 2)] / 1000 : null;
}

/** @param {number} bits */
const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1e3)} kb/s`);

/** @param {StreamStats} stream @param {number} now @returns {Row[]} */
function rows({ name, rates, width, height, codec, cadence }, now) {
  // Where pictures come as the screen changes, none means a still screen.
  const steady = cadence !== 'on_change';
  const seconds = rates?.keyframe_interval_ms == null ? null : rates.keyframe_interval_ms / 1000;
  const late = latency(name, now);
  return [
    {
      label: 'Bitrate', value: rates ? rate(rates.bits_per_second) : '–',
      ...(steady && rates && rates.bits_per_second === 0 && { health: 'down', reason: 'Nothing arrives from the publisher.' }),
    },
    {
      label: 'Frame rate', value: rates ? `${rates.frames_per_second.toFixed(1)} fps` : '–',
      ...(steady && rates && rates.frames_per_second < 1 && { health: 'degraded', reason: 'Less than one picture a second: what is shown for a moment is missed.' }),
    },
    {
      label: 'Resolution', value: width && height ? `${width}×${height}` : '–',
      ...(height && Math.min(Number(width), height) < 720 && { health: 'degraded', reason: 'Below 720 lines small text is blurred, and OCR misreads it.' }),
    },
    { label: 'Codec', value: codec ?? '–' },
    {
      label: 'Keyframe interval', value: seconds === null ? '–' : duration(seconds),
      ...(seconds !== null && seconds > 4.5 && {
        // 2 s, and at most 4, is what live platforms require of encoders.
        health: seconds > 10 ? 'down' : 'degraded',
        reason: 'Viewers who lost data, and new ones on slow links, may wait that long for a picture. Set the keyframe interval of the encoder to 2 s, at most 4 s.',
      }),
    },
    {
      label: 'Picture to finding', value: late === null ? '–' : duration(late),
      ...(late !== null && late > 20 && { health: late > 60 ? 'down' : 'degraded', reason: 'Findings are late: OCR or models are behind (see Health).' }),
    },
  ];
}

/** Shows the statistics from now on. @param {() => string} chosen Name of the stream that is shown. */
export function showStats(chosen) {
  const look = async () => {
    if (document.hidden || at('live').hidden || !chosen()) return;
    /** @type {List<StreamStats>} */
    const { items } = await ask('/api/streams');
    const stream = items.find(({ name }) => name === chosen());
    draw(stream ? rows(stream, Date.now()) : []);
  };
  // The connection's own notice says what is wrong.
  const again = () => look().catch(() => {}).finally(() => setTimeout(again, EVERY));
  document.addEventListener('visibilitychange', () => look().catch(() => {}));
  again();
}

/** @type {Map<string, {value: Element, text: string}>} */
const cells = new Map();
let advised = '';

/** @param {Row[]} all */
function draw(all) {
  at('stats').hidden = all.length === 0;
  if (cells.size === 0) {
    for (const { label } of all) {
      const value = el('dd');
      cells.set(label, { value, text: '' });
      at('stats').append(el('div', {}, el('dt', {}, label), value));
    }
  }
  for (const { label, value, health } of all) {
    const cell = cells.get(label);
    const text = `${health ?? ''} ${value}`;
    if (!cell || cell.text === text) continue;
    cell.text = text;
    fill(cell.value, health && dot(health), health && ' ', value);
  }
  const poor = all.filter(({ reason }) => reason);
  const advice = JSON.stringify(poor.map(({ label, reason }) => [label, reason]));
  if (advice === advised) return;
  advised = advice;
  at('advice').hidden = poor.length === 0;
  fill(at('advice'), ...poor.map(({ label, health, reason }) => el('li', {}, health && dot(health), ` ${label}: ${reason}`)));
}
