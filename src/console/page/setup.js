// Encoder settings, rejected connections, and the server's health.

import { ask } from './api.js';
import { deadLetters } from './dead.js';
import { at, el, fill, words } from './dom.js';
import { ago, clock, number, size, usd, withTimes } from './format.js';

/** @import {Agent, Child, List, Setup, Sink, Standing} from './types' */

/** @param {...Child} cells */
const row = (...cells) => el('tr', {}, ...cells.map((cell) => el('td', {}, cell)));

/** @param {string} caption @param {string[]} heads @param {HTMLElement[]} rows */
const table = (caption, heads, rows) => el('div', { class: 'wide', tabIndex: 0, role: 'region', 'aria-label': caption }, el('table', {},
  el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))), el('tbody', {}, ...rows)));

/** Text to be typed in elsewhere. @param {string} text */
const typed = (text) => el('code', {}, text);

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
    table('Encoder settings', ['encoder', 'stream URL', 'stream key'], [
      row('Zoom: More → Live on Custom Live Streaming Service', typed(url), el('span', {}, key, '; page URL: any https address')),
      row('OBS: Settings → Stream → Service: Custom', typed(url), key),
      row('ffmpeg', typed(`ffmpeg -re -i clip.mp4 -c copy -f flv ${url}${stream_key ? '/KEY' : ''}`), stream_key ? 'replaces KEY' : 'none'),
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
  fill(at('howto'), ...howto(setup));
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
      agent.name, `${agent.provider} ${agent.model}`, agent.state, clock(agent.since), agent.last_look ? ago(agent.last_look) : 'none yet'))),
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
