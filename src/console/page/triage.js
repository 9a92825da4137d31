// The incidents, to be worked through by keyboard.
//
// A row changes in place; rows only move when somebody asks for it, so that
// nothing jumps away under a hand.

import { annotate, ask, decide } from './api.js';
import { known, question } from './dialog.js';
import { at, clock, el, mark, toIncident, words } from './dom.js';
import { changedTo, versionOf } from './incident.js';
import { Rows } from './rows.js';

/** @import {Agent, Change, Incident, List, Stream, Verdict} from './types' */

const PAGE = 200;
/** More is not counted. */
const MOST_FRESH = 999;

export class Triage {
  /** @type {Set<string>} */ #selected = new Set();
  /** @type {Set<string>} */ #fresh = new Set();
  #filters = /** @type {HTMLFormElement} */ (at('filters'));
  /** @type {string | null} */ #next = null;
  /** Counts loads: what an older one brings is of no use. */
  #load = 0;
  #loading = false;
  #current = '';
  /** Where a range of selections begins. */
  #mark = '';
  /** One decision after the other, each on what the last has made of it. */
  #turn = Promise.resolve();
  #open;
  #say;
  /** @type {Rows<Incident>} */ #rows;

  /** @param {(id: string) => void} open @param {(text: string) => void} say */
  constructor(open, say) {
    this.#open = open;
    this.#say = say;
    this.#rows = new Rows(at('list'), at('triage'), (incident) => this.#row(incident), () => this.#more());
    this.#filters.addEventListener('change', () => this.load());
    this.#filters.addEventListener('submit', (event) => event.preventDefault());
    at('fresh').addEventListener('click', () => this.load());
    at('triage').addEventListener('click', (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const id = target.closest('li')?.dataset.id;
      if (!id) return;
      if (target.matches('input')) this.#select(id);
      else this.#go(id, true);
    });
  }

  /** Anew from the top. */
  async load() {
    this.#load += 1;
    this.#fresh.clear();
    this.#showFresh();
    const first = await this.#page(null);
    if (!first) return;
    at('list').scrollTop = 0;
    this.#rows.show(first);
    at('calm').hidden = first.length > 0;
    if (!first.some(({ id }) => id === this.#current)) this.#go(first[0]?.id ?? '', false);
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

  /** @param {string | null} cursor @returns {Promise<Incident[] | null>} Null when it is too late. */
  async #page(cursor) {
    const load = this.#load;
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const [key, value] of new FormData(this.#filters)) if (value) query.set(key, String(value));
    if (cursor) query.set('cursor', cursor);
    /** @type {List<Incident>} */
    const page = await ask(`/api/incidents?${query}`);
    if (load !== this.#load) return null;
    this.#next = page.next ?? null;
    return page.items;
  }

  /** Something has happened to one. @param {Pick<Change, 'incident'>} change */
  changed({ incident }) {
    this.#fresh.delete(incident.id);
    if (this.#rows.items.some(({ id }) => id === incident.id)) return this.#rows.change(incident);
    if (incident.status === 'closed') return;
    if (this.#fresh.size < MOST_FRESH) this.#fresh.add(incident.id);
    if (this.#rows.items.length === 0) this.load().catch((error) => this.#say(words(error)));
    else this.#showFresh();
  }

  /** @param {Agent[]} agents */
  agents(agents) {
    this.#offer('agent', agents.map(({ name }) => name));
  }

  /** @param {Stream[]} streams */
  streams(streams) {
    this.#offer('stream', streams.map(({ name }) => name));
  }

  /** Names that were there stay: what they found is still there. @param {string} filter @param {string[]} names */
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
    else if (key === '.') await this.load();
    else if (key === 'a') await this.#decide({ status: 'acknowledged' });
    else if (key === 'r') await this.#decide({ status: 'new' });
    else if (key === 'c') await this.#close();
    else if (key === 'n') await this.#note();
  }

  /** Whether there was anything selected. */
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

  async #close() {
    const count = this.#chosen().length;
    if (count === 0) return;
    const said = await question(`Close ${count === 1 ? 'it' : `${count} incidents`}`, [
      { name: 'why', label: 'Why' },
      { name: 'false_positive', label: 'A false positive: its like is to stay quiet', kind: 'checkbox' },
    ]);
    if (said) await this.#decide({ status: 'closed', why: String(said.why), false_positive: Boolean(said.false_positive) });
  }

  async #note() {
    const id = this.#current;
    const said = id && await question('Note', [{ name: 'text', label: 'What the next one should know' }]);
    if (!said || !await known()) return;
    try {
      this.changed(await annotate(id, String(said.text)));
      this.#open(id);
    } catch (error) {
      this.#say(words(error));
    }
  }

  /** @param {Omit<Verdict, 'by' | 'version'>} verdict */
  async #decide(verdict) {
    const ids = this.#chosen();
    if (ids.length === 0 || !await known()) return;
    this.#turn = this.#turn.then(() => this.#decideAll(ids, verdict));
    await this.#turn;
  }

  /** @param {string[]} ids @param {Omit<Verdict, 'by' | 'version'>} verdict */
  async #decideAll(ids, verdict) {
    const failed = [];
    for (const id of ids) {
      try {
        const why = verdict.why ?? '';
        const change = await decide(id, { false_positive: false, ...verdict, why, version: versionOf(id) });
        changedTo(id, change.version);
        this.changed(change);
      } catch (error) {
        failed.push(`${this.#rows.items.find((one) => one.id === id)?.title ?? id}: ${words(error)}`);
      }
    }
    if (failed.length > 0) this.#say(failed.join('; '));
    this.deselect();
    if (!at('incident').hidden) this.#open(this.#current);
  }

  /** @param {string} id */
  #select(id) {
    if (!id) return;
    if (!this.#selected.delete(id)) this.#selected.add(id);
    this.#mark = id;
    this.#rows.touch(id);
    this.#showSelected();
  }

  /** From the one selected last to this one. @param {number} here */
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

  /** All that are there, or none. */
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
    at('fresh').textContent = `${count}${count === MOST_FRESH ? ' or more' : ''} new: show (.)`;
  }

  #showSelected() {
    at('chosen').textContent = this.#selected.size > 0 ? `${this.#selected.size} selected` : '';
  }

  /** @param {Incident} incident */
  #row(incident) {
    const { id, title, severity, status, count, agents, verdict, opinions, grounded, last_seen } = incident;
    const dissent = (verdict?.dissent.length ?? 0) > 0;
    const about = [status, `${count}×`, agents.join(', '), grounded === false && 'unproven',
      opinions.length > 0 && `${opinions.length} opinions`, dissent && 'dissent'];
    const link = toIncident(id, title);
    link.title = title;
    link.addEventListener('click', (event) => !event.ctrlKey && !event.metaKey && event.preventDefault());
    const row = el(
      'li',
      { 'data-id': id, 'data-severity': severity, 'data-status': status },
      el('input', { type: 'checkbox', title: 'select', 'aria-label': `select ${title}`, checked: this.#selected.has(id) }),
      mark(severity),
      link,
      clock(last_seen),
      el('span', { class: 'quiet' }, about.filter(Boolean).join(' · ')),
    );
    if (id === this.#current) row.setAttribute('aria-current', 'true');
    return row;
  }
}
