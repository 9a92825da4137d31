// Encoder settings, rejected connections, and the server's health.

import { ask } from './api.js';
import { copyButton } from './clipboard.js';
import { deadLetters } from './dead.js';
import { at, el, fill, words } from './dom.js';
import { ago, clock, modelName, number, size, usd, withTimes } from './format.js';
import { ways } from './sharing.js';

/** @import {Agent, Child, List, Setup, Sink, Standing} from './types' */

/** @param {...Child} cells */
const row = (...cells) => el('tr', {}, ...cells.map((cell) => el('td', {}, cell)));

/** @param {string} caption @param {string[]} heads @param {HTMLElement[]} rows */
const table = (caption, heads, rows) => el('div', { class: 'wide', tabIndex: 0, role: 'region', 'aria-label': caption }, el('table', {},
  el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))), el('tbody', {}, ...rows)));

/** Text to be typed in elsewhere. @param {string} text */
const typed = (text) => el('code', {}, text);

/** Text to be typed in elsewhere, with a button that copies it. @param {string} text @param {string} what */
const copied = (text, what) => el('span', { class: 'copied' }, typed(text), ' ', copyButton('Copy', () => text, `Copy ${what}`));

/** Time in ms for which a test waits, and its interval. */
const [PATIENCE, POLL] = [60_000, 1000];

/** Button that waits for a stream, and says what came of it. */
function test() {
  const said = el('output', { class: 'quiet' });
  const button = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', id: 'test-stream', onclick: run }, 'Test stream'));
  async function run() {
    button.disabled = true;
    said.textContent = 'Waiting for a stream: start it in the encoder now…';
    const until = Date.now() + PATIENCE;
    try {
      const before = (await fetched()).refused;
      let result = '';
      while (!result && Date.now() < until && said.isConnected) {
        result = await arrived(before);
        if (!result) await new Promise((then) => { setTimeout(then, POLL); });
      }
      said.textContent = result || 'Nothing arrived within 60 s: check address and port in the encoder, and the firewall of the server.';
    } catch (error) {
      said.textContent = words(error);
    }
    button.disabled = false;
  }
  return el('p', {}, button, ' ', said);
}

/** Stream that is live, or publisher that was rejected since; empty so far. @param {Setup['refused']} before */
async function arrived(before) {
  /** @type {List<{name: string, state: string, width?: number | null, height?: number | null}>} */
  const { items } = await ask('/api/streams');
  const live = items.find(({ state, width }) => state === 'live' && width);
  if (live) return `Stream ${live.name} is live, ${live.width} × ${live.height}`;
  const { refused } = await fetched();
  const count = (/** @type {Setup['refused']} */ some) => some.reduce((sum, one) => sum + one.count, 0);
  return count(refused) > count(before) ? `Rejected: ${refused[0]?.why} (${refused[0]?.address})` : '';
}

/** Explains how to stream to this machine. @param {Setup} setup @returns {Child[]} */
export function howto({ rtmp, rtmps, stream_key, public_address, refused }) {
  const secure = rtmps && !rtmps.this_machine_only;
  const door = secure ? rtmps : rtmp;
  const host = public_address || location.hostname;
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(host);
  const url = `${secure ? 'rtmps' : 'rtmp'}://${host}:${door.port}/live/team`;
  const key = stream_key ? 'WATCHTOWER_STREAM_KEY from the server’s .env' : 'any value (no key configured)';
  return [
    el('h2', {}, 'Share a screen'),
    ways(),
    el('h3', {}, 'With an encoder'),
    table('Encoder settings', ['encoder', 'stream URL', 'stream key'], [
      row('Zoom: More → Live on Custom Live Streaming Service', copied(url, 'stream URL for Zoom'), el('span', {}, key, '; page URL: any https address')),
      row('OBS: Settings → Stream → Service: Custom', copied(url, 'stream URL for OBS'), key),
      row('ffmpeg', copied(`ffmpeg -re -i clip.mp4 -c copy -f flv ${url}${stream_key ? '/KEY' : ''}`, 'ffmpeg command'), stream_key ? 'replaces KEY' : 'none'),
    ]),
    el('p', { class: 'quiet' }, '“team” is the stream name; choose any name.'),
    local && el('p', { class: 'note' }, 'You are viewing this from the server. Zoom streams from its cloud: replace ', typed(host), ' with the public name or address of the server, and open port ', typed(String(door.port)), '.'),
    door.this_machine_only && el('p', { class: 'note' }, 'Local connections only: --rtmp is a loopback address.'),
    !stream_key && el('p', { class: 'note' }, 'Local publishers only: WATCHTOWER_STREAM_KEY is not set.'),
    refused.length > 0 && el('h2', {}, 'Rejected connections'),
    refused.length > 0 && table('Rejected connections', ['last seen', 'source address', 'count', 'reason'], refused.map(({ last, address, count, why }) => row(
      ago(last), typed(address), number(count), why))),
  ];
}

/** @returns {Promise<Setup>} */
export const fetched = () => ask('/api/setup');

export async function show() {
  const setup = await fetched();
  fill(at('howto'), ...howto(setup), test());
  const [agents, sinks, budget] = await Promise.all([
    /** @type {Promise<List<Agent>>} */ (ask('/api/agents')),
    /** @type {Promise<List<Sink>>} */ (ask('/api/sinks')),
    /** @type {Promise<Standing>} */ (ask('/api/budget')),
  ]).catch((error) => {
    fill(at('health'), el('p', { role: 'alert' }, words(error)));
    throw error;
  });
  const on = agents.items.filter(({ enabled }) => enabled);
  fill(
    at('health'),
    ...setup.faults.map((fault) => el('p', { class: 'note', role: 'alert' }, ...withTimes(fault, clock))),
    el('h2', {}, 'Models'),
    table('Models', ['analyst', 'model', 'state', 'since', 'last response'], on.map((agent) => row(
      agent.name, modelName(agent.provider, agent.model), agent.state, clock(agent.since), agent.last_look ? ago(agent.last_look) : 'none yet'))),
    !setup.reads_screens && el('p', { class: 'note' }, 'OCR is off: no search, no history.'),
    el('h2', {}, 'Budget'),
    el('p', {}, budget.reason || 'OK'),
    table('LLM cost', ['period', 'requests', 'tokens', 'cost'], (/** @type {const} */ (['minute', 'hour', 'day'])).map((span) => {
      const { requests, tokens, micro_usd } = budget.spent[span];
      return row(`last ${span === 'day' ? 'day (UTC)' : span}`, number(requests), number(tokens), usd(micro_usd));
    })),
    el('h2', {}, 'Integrations'),
    sinks.items.length === 0 ? el('p', {}, 'None configured') : table('Integrations', ['integration', 'state', 'backlog', 'delivered', 'failed attempts', 'dead letters'],
      sinks.items.map((sink) => row(`${sink.name} (${sink.kind})`, sink.state, ...[sink.behind, sink.delivered, sink.failed, sink.dead].map(number)))),
    ...sinks.items.filter(({ dead }) => dead > 0).map(deadLetters),
    el('h2', {}, 'Storage'),
    disk(setup.disk),
    el('form', { method: 'post', action: '/logout' }, el('button', {}, 'Sign out')),
    el('p', { class: 'quiet' }, `Watchtower ${setup.version} · `, el('a', { href: '/api/openapi.json' }, 'API')),
  );
}

/** @param {Setup['disk']} disk */
function disk({ database_bytes, evidence_bytes, limit_bytes, free_bytes, total_bytes }) {
  const low = free_bytes < total_bytes / 20;
  return el('p', {}, `Database ${size(database_bytes)}, evidence ${size(evidence_bytes)}; retention limit ${size(limit_bytes)}. `,
    el('span', { class: low ? 'note' : '' }, `${size(free_bytes)} of ${size(total_bytes)} free.`));
}
