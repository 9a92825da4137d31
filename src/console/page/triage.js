// Incident triage by keyboard.
//
// Rows change in place and only move on request, so that nothing moves under
// the pointer.

import { annotate, ask, decide } from './api.js';
import { known, question } from './dialog.js';
import { SEVERITIES, at, el, mark, soon, toIncident, words } from './dom.js';
import { ago, counted, number } from './format.js';
import { again, changedTo, titleOf, versionOf } from './incident.js';
import { Rows } from './rows.js';

/** @import {Agent, Change, Incident, List, Severity, Stream, Verdict} from './types' */

const PAGE = 200;
/** Maximum count shown. */
const MOST_FRESH = 999;

export class Triage {
  /** @type {Set<string>} */ #selected = new Set();
  /** @type {Set<string>} */ #fresh = new Set();
  #filters = /** @type {HTMLFormElement} */ (at('filters'));
  /** @type {string | null} */ #next = null;
  /** Number of the load: results of older ones are dropped. */
  #load = 0;
  #loading = false;
  #current = '';
  /** Start of a range selection. */
  #mark = '';
  /** Queue of decisions, each made on the result of the last. */
  #turn = Promise.resolve();
  /** Draft of a text that could not be sent, offered again. */
  #draft = { why: '', text: '' };
  #filling = false;
  #fill = soon(() => this.#refill());
  #usual;
  #open;
  #say;
  /** @type {Rows<Incident>} */ #rows;

  /** @param {(id: string) => void} open Called with the id of an opened incident. @param {(text: string) => void} say */
  constructor(open, say) {
    this.#open = open;
    this.#say = say;
    this.#usual = Object.fromEntries(this.#values());
    this.#rows = new Rows(at('list'), at('triage'), (incident) => this.#row(incident), () => this.#more());
    this.#filters.addEventListener('change', () => {
      this.#open(at('incident').hidden ? '' : this.#current);
      this.reload();
    });
    this.#filters.addEventListener('submit', (event) => event.preventDefault());
    at('fresh').addEventListener('click', () => this.reload());
    at('triage').addEventListener('click', (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const id = target.closest('li')?.dataset.id;
      if (!id) return;
      if (target.matches('input')) this.#select(id);
      else this.#go(id, true);
    });
  }

  /** Reloads from the top. */
  async load() {
    this.#load += 1;
    const fresh = [...this.#fresh];
    const first = await this.#page(null);
    if (!first) return;
    for (const id of [...fresh, ...first.map(({ id }) => id)]) this.#fresh.delete(id);
    this.#showFresh();
    at('list').scrollTop = 0;
    this.#rows.show(first);
    at('calm').hidden = first.length > 0;
    const kept = !at('incident').hidden || first.some(({ id }) => id === this.#current);
    this.#go(kept ? this.#current : first[0]?.id ?? '', false);
  }

  /** Reloads and shows errors. */
  async reload() {
    this.#say('');
    await this.load().catch((error) => this.#say(words(error)));
  }

  /** Reloads an empty list; one load at a time. */
  async #refill() {
    if (this.#filling || this.#rows.items.length > 0) return;
    this.#filling = true;
    await this.load().catch((error) => this.#say(words(error)));
    this.#filling = false;
  }

  #values() {
    return [...new FormData(this.#filters)].map(([name, value]) => [name, String(value)]);
  }

  /** Filters that differ from the default, for the URL. @returns {Record<string, string>} */
  get filters() {
    return Object.fromEntries(this.#values().filter(([name, value]) => value !== this.#usual[name]));
  }

  /** Sets the filters from the URL. @param {URLSearchParams} query @returns {boolean} True if the list changes. */
  set(query) {
    const before = JSON.stringify(this.#values());
    for (const [name, usual] of Object.entries(this.#usual)) {
      const select = /** @type {HTMLSelectElement} */ (this.#filters.elements.namedItem(name));
      const wanted = query.get(name) ?? usual;
      // Names are loaded later than the page.
      if (name === 'agent' || name === 'stream') this.#offer(name, [wanted]);
      select.value = [...select.options].some(({ value }) => value === wanted) ? wanted : usual;
    }
    return JSON.stringify(this.#values()) !== before;
  }

  /** Selects the shown incident as the target of keys. @param {string} id */
  at(id) {
    if (id) this.#go(id, false);
  }

  /** True if the incident matches the filters. @param {Incident} incident */
  #matches({ status, severity, agents, stream }) {
    const wanted = Object.fromEntries(this.#values());
    return (!wanted.status || wanted.status.split(',').includes(status))
      && (!wanted.severity || SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(/** @type {Severity} */ (wanted.severity)))
      && (!wanted.agent || agents.includes(wanted.agent))
      && (!wanted.stream || stream === wanted.stream);
  }

  async #more() {
    if (!this.#next || this.#loading) return;
    this.#loading = true;
    try {
      const more = await this.#page(this.#next);
      const there = new Set(this.#rows.items.map(({ id }) => id));
      if (more) this.#rows.show([...this.#rows.items, ...more.filter(({ id }) => !there.has(id))]);
    } catch (error) {
      this.#say(words(error));
    } finally {
      this.#loading = false;
    }
  }

  /** @param {string | null} cursor @returns {Promise<Incident[] | null>} Null if a newer load has started. */
  async #page(cursor) {
    const load = this.#load;
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const [name, value] of this.#values()) if (value) query.set(name, value);
    if (cursor) query.set('cursor', cursor);
    /** @type {List<Incident>} */
    const page = await ask(`/api/incidents?${query}`);
    if (load !== this.#load) return null;
    this.#next = page.next ?? null;
    return page.items;
  }

  /** Handles a change of an incident. @param {Pick<Change, 'incident'>} change */
  changed({ incident }) {
    this.#fresh.delete(incident.id);
    if (this.#rows.items.some(({ id }) => id === incident.id)) return this.#rows.change(incident);
    // There is no list before the view is first opened.
    if (this.#load > 0 && this.#matches(incident)) {
      if (this.#fresh.size < MOST_FRESH) this.#fresh.add(incident.id);
      if (this.#rows.items.length === 0) this.#fill();
    }
    this.#showFresh();
  }

  /** @param {Agent[]} agents */
  agents(agents) {
    this.#offer('agent', agents.map(({ name }) => name));
  }

  /** @param {Stream[]} streams */
  streams(streams) {
    this.#offer('stream', streams.map(({ name }) => name));
  }

  /** Earlier names stay as options, as their findings remain. @param {string} filter @param {string[]} names */
  #offer(filter, names) {
    const select = /** @type {HTMLSelectElement} */ (this.#filters.elements.namedItem(filter));
    const there = new Set([...select.options].map(({ value }) => value));
    select.append(...names.filter((name) => !there.has(name)).map((name) => new Option(name, name)));
  }

  /** @param {string} key */
  async key(key) {
    const items = this.#rows.items;
    const here = items.findIndex(({ id }) => id === this.#current);
    const opened = !at('incident').hidden;
    const step = { j: 1, k: -1 }[key];
    if (step) this.#go(items[Math.min(Math.max(here + step, 0), items.length - 1)]?.id ?? '', opened);
    else if (key === 'Enter' || key === 'o') this.#go(this.#current, true);
    else if (key === 'x') this.#select(this.#current);
    else if (key === 'X') this.#range(here);
    else if (key === '*') this.#all();
    else if (key === '.') await this.reload();
    else if (key === 'a') await this.#decide({ status: 'acknowledged' });
    else if (key === 'r') await this.#decide({ status: 'new' });
    else if (key === 'c') await this.#close();
    else if (key === 'n') await this.#note();
  }

  /** Clears the selection; false when there was none. */
  deselect() {
    const were = [...this.#selected];
    this.#selected.clear();
    were.forEach((id) => this.#rows.touch(id));
    this.#showSelected();
    return were.length > 0;
  }

  #chosen() {
    return this.#selected.size ? [...this.#selected] : [this.#current].filter(Boolean);
  }

  /** @param {string} id */
  #title(id) {
    return this.#rows.items.find((one) => one.id === id)?.title ?? (titleOf(id) || id);
  }

  async #close() {
    const ids = this.#chosen();
    if (ids.length === 0 || !await known()) return;
    const input = await question(
      ids.length === 1 ? 'Close incident' : `Close ${counted(ids.length, 'incident')}`,
      ids.length === 1 ? 'Close incident' : 'Close incidents',
      [
        { name: 'why', label: 'Reason', value: this.#draft.why },
        { name: 'false_positive', label: 'False positive: suppress similar findings', kind: 'checkbox' },
      ],
      ids.length === 1 ? this.#title(ids[0]) : '',
    );
    if (!input) return;
    this.#draft.why = String(input.why);
    await this.#decide({ status: 'closed', why: this.#draft.why, false_positive: Boolean(input.false_positive) }, ids);
  }

  async #note() {
    const id = this.#current;
    if (!id || !await known()) return;
    const input = await question('Add note', 'Add note', [{ name: 'text', label: 'Note for next shift', value: this.#draft.text }], this.#title(id));
    if (!input) return;
    this.#draft.text = String(input.text);
    this.#say('');
    try {
      this.changed(await annotate(id, this.#draft.text));
      this.#draft.text = '';
    } catch (error) {
      this.#say(`${words(error)}; draft kept, n to retry`);
    }
    await again();
  }

  /** @param {Omit<Verdict, 'by' | 'version'>} verdict */
  async #decide(verdict, ids = this.#chosen()) {
    if (ids.length === 0 || !await known()) return;
    this.#turn = this.#turn.then(() => this.#decideAll(ids, verdict));
    await this.#turn;
  }

  /** @param {string[]} ids @param {Omit<Verdict, 'by' | 'version'>} verdict */
  async #decideAll(ids, verdict) {
    const failed = [];
    this.#say('');
    for (const id of ids) {
      try {
        const why = verdict.why ?? '';
        const change = await decide(id, { false_positive: false, ...verdict, why, version: versionOf(id) });
        changedTo(id, change.version);
        this.changed(change);
      } catch (error) {
        failed.push(`${this.#title(id)}: ${words(error)}`);
        continue;
      }
      // Failed ones stay selected.
      this.#selected.delete(id);
      this.#rows.touch(id);
    }
    this.#showSelected();
    if (failed.length > 0) this.#say(failed.join('; '));
    else if (verdict.why) this.#draft.why = '';
    await again();
  }

  /** @param {string} id */
  #select(id) {
    if (!id) return;
    if (!this.#selected.delete(id)) this.#selected.add(id);
    this.#mark = id;
    this.#rows.touch(id);
    this.#showSelected();
  }

  /** Selects from the last selected one to this one. @param {number} here */
  #range(here) {
    const items = this.#rows.items;
    const mark = items.findIndex(({ id }) => id === this.#mark);
    const from = mark < 0 ? here : mark;
    if (from < 0) return;
    for (const { id } of items.slice(Math.min(from, here), Math.max(from, here) + 1)) {
      this.#selected.add(id);
      this.#rows.touch(id);
    }
    this.#showSelected();
  }

  /** Selects all loaded ones, or none. */
  #all() {
    const items = this.#rows.items;
    if (this.#selected.size === items.length) return this.deselect();
    items.forEach(({ id }) => this.#selected.add(id));
    items.forEach(({ id }) => this.#rows.touch(id));
    this.#showSelected();
  }

  /** @param {string} id @param {boolean} open */
  #go(id, open) {
    const before = this.#current;
    this.#current = id;
    this.#rows.touch(before);
    this.#rows.touch(id);
    const place = this.#rows.items.findIndex((item) => item.id === id);
    if (place >= 0) this.#rows.reveal(place);
    if (open && id) this.#open(id);
  }

  #showFresh() {
    const count = this.#fresh.size;
    at('fresh').hidden = count === 0;
    at('fresh').textContent = `${count}${count === MOST_FRESH ? '+' : ''} new: show (.)`;
  }

  #showSelected() {
    at('chosen').textContent = this.#selected.size > 0 ? `${number(this.#selected.size)} selected` : '';
  }

  /** @param {Incident} incident */
  #row(incident) {
    const { id, title, severity, status, count, agents, verdict, opinions, grounded, last_seen } = incident;
    const dissent = (verdict?.dissent.length ?? 0) > 0;
    const about = [status, `${number(count)}×`, agents.join(', '), grounded === false && 'unverified evidence',
      opinions.length > 0 && counted(opinions.length, 'opinion'), dissent && 'disagreement'];
    const link = toIncident(id, title);
    link.title = title;
    link.addEventListener('click', (event) => !event.ctrlKey && !event.metaKey && event.preventDefault());
    const row = el(
      'li',
      { 'data-id': id, 'data-severity': severity, 'data-status': status },
      el('input', { type: 'checkbox', title: 'Select', 'aria-label': `Select ${title}`, checked: this.#selected.has(id) }),
      mark(severity),
      link,
      ago(last_seen),
      el('span', { class: 'quiet' }, about.filter(Boolean).join(' · ')),
    );
    if (id === this.#current) row.setAttribute('aria-current', 'true');
    return row;
  }
}
