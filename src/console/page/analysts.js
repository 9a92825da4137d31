// Analysts of agents.toml: added, changed, paused and removed here. Where the
// server can't write the file, the text to paste is shown instead.

import { Refused, ask, send, who } from './api.js';
import { copyButton } from './clipboard.js';
import { known, question } from './dialog.js';
import { at, el, fill, words } from './dom.js';
import { ago, clock, counted, number, usd } from './format.js';
import { inWords, sinceUntil } from './scope.js';
import { done } from './toast.js';

/** @import {AgentBlock, AgentsFile, Child, Edited, Precision, SourcePrecision} from './types' */

/** Days that precision and cost are counted over, unless a range is chosen. */
const DAYS = 30;
const USUAL = `last ${DAYS} days`;

/** @type {AgentsFile | null} */
let file = null;
/** @type {Precision | null} */
let precision = null;
/** @type {() => void} */
let changed = () => {};

/** @param {string} name */
export const settingsOf = (name) => file?.items.find((block) => block.name === name);

/** Prepares the view. @param {() => void} whenChanged Draws the analysts. */
export function prepare(whenChanged) {
  changed = whenChanged;
  at('add-analyst').addEventListener('click', add);
}

/** Loads settings, precision and changes. */
export async function load() {
  const [settings, decided] = await Promise.all([
    /** @type {Promise<AgentsFile>} */ (ask('/api/agent-settings')),
    /** @type {Promise<Precision>} */ (ask(`/api/precision?${sinceUntil(`days=${DAYS}`)}`)),
  ]);
  [file, precision] = [settings, decided];
  draw(settings, decided);
  changed();
}

/** @param {AgentsFile} settings @param {Precision} decided */
function draw({ file: path, faults, unwritable, in_force, since, changes }, { rules, watches, more }) {
  fill(at('agents-file'), el('code', {}, path), ...(in_force ? [' in force since ', clock(since)] : [' differs from what is in force']),
    unwritable && ` · not writable here: ${unwritable}`);
  at('agents-fault').hidden = !faults;
  at('agents-fault').textContent = faults ?? '';
  /** @type {HTMLButtonElement} */ (at('add-analyst')).disabled = Boolean(faults);
  fill(
    at('precision'),
    el('h2', {}, 'Rules'),
    el('p', { class: 'quiet' }, `Offline rules, ${inWords(USUAL)}, by what users decided about their incidents.${more ? ' Older findings are not counted.' : ''}`),
    sources('Rules', rules, 'No rule has reported anything yet'),
    el('h2', {}, 'Watches'),
    sources('Watches', watches, 'No watch has reported anything yet. A watch reports a number on a screen: [[watch]] in agents.toml.'),
    el('h2', {}, 'Configuration changes'),
    el('ol', { id: 'configuration' }, ...(changes.length > 0
      ? changes.map(({ at: when, by, what }) => el('li', {}, ago(when), ' ', el('b', {}, by), ` ${what}`))
      : [el('li', { class: 'quiet' }, 'No changes made here')])),
  );
}

/** @param {string} caption @param {SourcePrecision[]} list @param {string} empty */
function sources(caption, list, empty) {
  if (list.length === 0) return el('p', { class: 'quiet' }, empty);
  const heads = [caption.slice(0, -1), 'Analyst', 'Findings', 'Incidents', 'Resolved', 'False positives', 'Precision', 'Last finding'];
  return el('div', { class: 'wide', tabIndex: 0, role: 'region', 'aria-label': caption }, el('table', { class: 'figures' },
    el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, ...list.map(({ name, agent, findings, incidents, right, false_positive, last_seen }) => el('tr', {},
      ...[name, agent, number(findings), number(incidents), number(right), number(false_positive), share(right, false_positive), ago(last_seen)]
        .map((cell) => el('td', {}, cell)))))));
}

/** Precision by decisions; a dash before the first. @param {number} right @param {number} wrong */
const share = (right, wrong) => (right + wrong > 0 ? `${Math.round((100 * right) / (right + wrong))} %` : '–');

/** Cost and precision of an analyst. @param {string} name */
export function figures(name) {
  const own = precision?.agents.find(({ agent }) => agent === name);
  if (!own) return null;
  const { incidents, right, false_positive, requests, micro_usd } = own;
  const decided = right + false_positive > 0 ? `precision ${share(right, false_positive)} (${number(right)} resolved, ${counted(false_positive, 'false positive')})` : 'none decided';
  return el('p', { class: 'quiet', title: inWords(USUAL) }, `${counted(incidents, 'incident')}, ${decided}`, requests > 0 && ` · ${counted(requests, 'request')}, ${usd(micro_usd)}`);
}

/** Buttons of an analyst that is in the file. @param {string} name @returns {Child} */
export function controls(name) {
  const block = settingsOf(name);
  if (!block) return false;
  /** @param {string} label @param {(block: AgentBlock) => void} act */
  const button = (label, act) => el('button', { type: 'button', class: 'act', 'aria-label': `${label} ${name}`, 'data-act': label.toLowerCase(), onclick: () => act(block) }, label);
  return el('p', { class: 'bar' }, button('Edit', edit), button(block.enabled ? 'Pause' : 'Resume', toggle), button('Remove', remove));
}

/** Commands of the palette. */
export const commands = () => (file?.items ?? []).map((block) => ({ name: `${block.enabled ? 'Pause' : 'Resume'} analyst ${block.name}`, run: () => { toggle(block); } }));

// Requests.

/** @typedef {{method: string, path: string, agent?: AgentBlock, said: string, undo: (() => Promise<unknown>) | null}} Plan */

/** @param {Plan} plan @param {string} version @param {boolean} dry_run @returns {Promise<Edited>} */
const request = ({ method, path, agent }, version, dry_run) => send(path, { by: who.name, version, dry_run, ...(agent && { agent }) }, method);

const LIST = '/api/agent-settings';
/** @param {string} name */
const one = (name) => `${LIST}/${encodeURIComponent(name)}`;
/** @param {AgentBlock} agent @returns {Plan} */
const adding = (agent) => ({ method: 'POST', path: LIST, agent, said: `Analyst ${agent.name} added`, undo: () => again(removing(agent)) });
/** @param {AgentBlock} agent @returns {Plan} */
const removing = (agent) => ({ method: 'POST', path: `${one(agent.name)}/remove`, said: `Analyst ${agent.name} removed`, undo: () => again(adding(agent)) });
/** @param {AgentBlock} before @param {AgentBlock} agent @param {string} what @returns {Plan} */
const changing = (before, agent, what) => ({ method: 'PUT', path: one(before.name), agent, said: `Analyst ${agent.name} ${what}`, undo: () => again(changing(agent, before, 'restored')) });

/** Undoes, on the file as it is now. @param {Plan} plan */
async function again(plan) {
  await load();
  await perform(plan);
}

/**
 * Performs a change; true once it is done, or shown as text. What is refused is
 * thrown.
 * @param {Plan} plan @param {string} [version]
 */
async function perform(plan, version = file?.version ?? '') {
  const dry = Boolean(file?.unwritable);
  try {
    const edited = await request(plan, version, dry);
    if (dry) return toPaste(plan, edited.block ?? '', file?.unwritable ?? '');
    await load();
    const since = edited.in_force_since;
    done([plan.said, ...(since ? [', in force since ', clock(since)] : [])], plan.undo && (() => plan.undo?.().catch(tell)));
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 403 || typeof error.body?.wanted !== 'string') throw error;
    toPaste(plan, error.body.wanted, error.message);
  }
}

/** @param {unknown} error */
const tell = (error) => done([words(error)], null);

/** Performs a change that needs no form. @param {Plan} plan */
async function act(plan) {
  if (!await known()) return;
  try {
    await perform(plan);
  } catch (error) {
    if (conflicted(error)) conflict(plan, error);
    else tell(error);
  }
}

/** @param {AgentBlock} block */
function toggle(block) {
  return act(changing(block, { ...block, enabled: !block.enabled }, block.enabled ? 'paused' : 'resumed'));
}

/** @param {AgentBlock} block */
async function remove(block) {
  const sure = await question(`Remove ${block.name}?`, 'Remove', [], '', 'Its block is removed from agents.toml. Its findings and log stay.');
  if (sure) await act(removing(block));
}

// Dialogs.

const box = () => /** @type {HTMLDialogElement} */ (at('analyst'));

/** @param {string} label @param {() => void} act */
const button = (label, act) => el('li', {}, el('button', { type: 'button', onclick: act }, label));

/** Shows the text to paste where the server can't write the file. @param {Plan} plan @param {string} text @param {string} why */
function toPaste({ method, path }, text, why) {
  const name = decodeURIComponent(path.split('/')[3] ?? '');
  const how = method === 'PUT' ? `Replace the [[agent]] block of ${name} by this text:`
    : name ? `Remove the [[agent]] block of ${name}.` : 'Add this text:';
  fill(
    box(),
    el('h2', {}, 'Edit agents.toml by hand'),
    el('p', {}, `The server can't write ${file?.file ?? 'the file'}: ${why}. ${how}`),
    text && el('pre', { id: 'paste', tabIndex: 0 }, text),
    el('p', { class: 'quiet' }, 'The server loads the file within 2 s of a change.'),
    el('menu', {}, text && el('li', {}, copyButton('Copy', () => text)), button('Close', () => box().close())),
  );
  if (!box().open) box().showModal();
}

/** @param {unknown} error @returns {error is Refused} */
const conflicted = (error) => error instanceof Refused && error.status === 409;

/** Shows both versions after somebody else's change. @param {Plan} plan @param {Refused} error */
function conflict(plan, { message, body }) {
  const fault = el('p', { role: 'alert' });
  /** @param {string} title @param {unknown} text */
  const version = (title, text) => el('section', {}, el('h3', {}, title), el('pre', { tabIndex: 0 }, typeof text === 'string' ? text : 'No such analyst'));
  fill(
    box(),
    el('h2', {}, 'Changed meanwhile'),
    el('p', {}, `${message}. Nothing was written.`),
    el('div', { class: 'versions' }, version('On disk', body?.current), version('Yours', body?.wanted)),
    fault,
    el('menu', {},
      button('Write mine', async () => {
        try {
          await perform(plan, String(body?.version ?? ''));
          if (!box().querySelector('#paste')) box().close();
        } catch (error) {
          if (conflicted(error)) conflict(plan, error);
          else fault.textContent = words(error);
        }
      }),
      button('Keep what is on disk', () => {
        box().close();
        load().catch(tell);
      })),
  );
  if (!box().open) box().showModal();
}

/** @param {string} text @param {string | RegExp} at_ */
const items = (text, at_) => text.split(at_).map((item) => item.trim()).filter(Boolean);

/** @type {AgentBlock} */
const NEW = { name: '', personality: '', focus: '', indicators: [], streams: [], enabled: true };

async function add() {
  await load();
  form('Add analyst', NEW, adding);
}

/** @param {AgentBlock} block */
async function edit({ name }) {
  // As it is in the file now.
  await load().catch(tell);
  const block = settingsOf(name);
  if (block) form(`Edit ${name}`, block, (agent) => changing(block, agent, 'changed'));
}

/** @param {string} title @param {AgentBlock} block @param {(agent: AgentBlock) => Plan} plan */
function form(title, block, plan) {
  const fault = el('p', { role: 'alert', class: 'faults' });
  /** @param {string} name @param {string} label @param {string} value @param {Record<string, unknown>} [more] */
  const line = (name, label, value, more = {}) => el('label', {}, label, el('input', { name, value, autocomplete: 'off', type: 'text', ...more }));
  /** @param {string} name @param {string} label @param {string} value @param {number} rows @param {number} longest @param {boolean} [required] */
  const area = (name, label, value, rows, longest, required = false) => el('label', {}, label, el('textarea', { name, value, rows, maxLength: longest, required }));
  /** @param {string} name @param {string} label @param {string | null | undefined} value @param {string[]} options */
  const choice = (name, label, value, options) => el('label', {}, label, el('select', { name },
    ...[['', 'default'], ...options.map((option) => [option, option])].map(([option, text]) => new Option(text, option, false, option === (value ?? '')))));
  const fields = /** @type {HTMLFormElement} */ (el(
    'form',
    { class: 'analyst', noValidate: false },
    el('h2', {}, title),
    line('name', 'Name', block.name, { required: true, maxLength: 32, pattern: '[A-Za-z0-9_\\-]+', title: '1 to 32 letters, digits, _ or -' }),
    area('personality', 'Personality', block.personality, 2, 4000, true),
    area('focus', 'Focus', block.focus, 3, 4000, true),
    area('indicators', 'Indicators, one per line', (block.indicators ?? []).join('\n'), 5, 32_000),
    line('streams', 'Streams, with commas; empty for all', (block.streams ?? []).join(', ')),
    line('model', 'Model; empty for the default', block.model ?? '', { placeholder: 'gemini:NAME, openai:NAME or offline' }),
    line('interval', 'Interval of requests', block.interval ?? '', { placeholder: '10s' }),
    el('details', {}, el('summary', {}, 'More'),
      line('fallback', 'Fallback models, with commas; empty for the default', (block.fallback ?? []).join(', ')),
      line('requests_per_interval', 'Requests per interval', String(block.requests_per_interval ?? ''), { inputMode: 'numeric', placeholder: '6' }),
      choice('thinking', 'Thinking', block.thinking, ['minimal', 'low', 'medium', 'high']),
      line('language', 'Language', block.language ?? '', { placeholder: 'English' }),
      choice('frames', 'Frames', block.frames, ['changed', 'full']),
      line('max_regions', 'Changed regions per request', String(block.max_regions ?? ''), { inputMode: 'numeric', placeholder: '4' }),
      choice('priority', 'Priority', block.priority, ['normal', 'low'])),
    el('label', { class: 'checkbox' }, 'Enabled', el('input', { name: 'enabled', type: 'checkbox', checked: block.enabled })),
    el('p', { class: 'quiet' }, 'API keys are set in the environment, never here.'),
    fault,
    el('menu', {}, el('li', {}, el('button', { id: 'save-analyst' }, file?.unwritable ? 'Show the text' : 'Save')), button('Cancel', () => box().close())),
  ));
  fields.addEventListener('submit', async (event) => {
    event.preventDefault();
    const wanted = plan(read(fields, block));
    box().close();
    // The name is asked for in a dialog of its own.
    const named = await known();
    box().showModal();
    if (!named) return;
    try {
      await perform(wanted);
      if (!box().querySelector('#paste')) box().close();
    } catch (error) {
      if (conflicted(error)) conflict(wanted, error);
      else fault.textContent = words(error);
    }
  });
  fill(box(), fields);
  box().showModal();
}

/** @param {HTMLFormElement} fields @param {AgentBlock} before @returns {AgentBlock} */
function read(fields, before) {
  const data = new FormData(fields);
  const text = (/** @type {string} */ name) => String(data.get(name) ?? '').replace(/\r\n/g, '\n').trim();
  const some = (/** @type {string} */ name) => text(name) || undefined;
  // What is no number is sent as it is: the server names it.
  const amount = (/** @type {string} */ name) => (text(name) ? /** @type {number} */ (Number.isNaN(Number(text(name))) ? text(name) : Number(text(name))) : undefined);
  const fallback = items(text('fallback'), ',');
  /** Kept as it was written, where only its blanks differ. @param {'personality' | 'focus'} name */
  const prose = (name) => (before[name].replace(/\r\n/g, '\n').trim() === text(name) ? before[name] : text(name));
  return {
    name: text('name'),
    personality: prose('personality'),
    focus: prose('focus'),
    indicators: items(text('indicators'), '\n'),
    streams: items(text('streams'), ','),
    model: some('model'),
    interval: some('interval'),
    fallback: fallback.length > 0 ? fallback : before.fallback?.length === 0 ? [] : undefined,
    requests_per_interval: amount('requests_per_interval'),
    thinking: some('thinking'),
    language: some('language'),
    frames: some('frames'),
    max_regions: amount('max_regions'),
    priority: some('priority'),
    enabled: data.has('enabled'),
  };
}
