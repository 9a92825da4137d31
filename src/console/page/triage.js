// The incidents, to be worked through by keyboard.
//
// A row changes in place; rows only move when somebody asks for it, so that
// nothing jumps away under a hand.

import { annotate, ask, decide } from '/page/api.js';
import { known, question } from '/page/dialog.js';
import { at, clock, el, mark } from '/page/dom.js';

const PAGE = 100;

export class Triage {
  /** @type {Map<string, any>} */ #known = new Map();
  /** @type {Set<string>} */ #selected = new Set();
  /** @type {Set<string>} */ #fresh = new Set();
  #list = at('triage');
  #filters = /** @type {HTMLFormElement} */ (at('filters'));
  /** @type {string | null} */ #next = null;
  #current = '';
  #open;

  /** @param {(id: string | null) => void} open */
  constructor(open) {
    this.#open = open;
    this.#filters.addEventListener('change', () => this.load());
    at('fresh').addEventListener('click', () => this.load());
    at('more').addEventListener('click', () => this.#page(this.#next));
    this.#list.addEventListener('click', ({ target }) => {
      const row = /** @type {HTMLElement} */ (target).closest('li');
      if (!row?.dataset.id) return;
      if (/** @type {HTMLElement} */ (target).matches('input')) this.#select(row.dataset.id);
      else this.#go(row.dataset.id, true);
    });
  }

  async load() {
    this.#known.clear();
    this.#fresh.clear();
    this.#list.replaceChildren();
    await this.#page(null);
    this.#showFresh();
  }

  async #page(cursor) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const [key, value] of new FormData(this.#filters)) if (value) query.set(key, String(value));
    if (cursor) query.set('cursor', cursor);
    const page = await ask(`/api/incidents?${query}`);
    this.#next = page.next;
    for (const incident of page.items) {
      this.#known.set(incident.id, incident);
      this.#list.append(this.#row(incident));
    }
    at('more').hidden = !page.next;
    this.#showCount();
    if (!this.#known.has(this.#current)) this.#go(this.#rows()[0]?.dataset.id ?? '', false);
  }

  /** Something has happened to one. */
  changed({ incident }) {
    const row = this.#row_of(incident.id);
    if (row) {
      this.#known.set(incident.id, incident);
      row.replaceWith(this.#row(incident));
      return;
    }
    if (incident.status === 'closed') return;
    this.#fresh.add(incident.id);
    if (this.#known.size === 0) this.load();
    else this.#showFresh();
  }

  /** @param {any[]} agents */
  agents(agents) {
    const select = /** @type {HTMLSelectElement} */ (this.#filters.elements.namedItem('agent'));
    const names = agents.map(({ name }) => name);
    if (select.options.length === names.length + 1) return;
    const chosen = select.value;
    select.replaceChildren(new Option('all', ''), ...names.map((name) => new Option(name, name)));
    select.value = chosen;
  }

  /** @param {string} key */
  async key(key) {
    const rows = this.#rows();
    const here = rows.findIndex((row) => row.dataset.id === this.#current);
    const step = { j: 1, k: -1 }[key];
    if (step) this.#go(rows[Math.min(Math.max(here + step, 0), rows.length - 1)]?.dataset.id ?? '', !at('incident').hidden);
    else if (key === 'Enter' || key === 'o') this.#go(this.#current, true);
    else if (key === 'x') this.#select(this.#current);
    else if (key === '.') await this.load();
    else if (key === 'a') await this.#decide({ status: 'acknowledged' });
    else if (key === 'r') await this.#decide({ status: 'new' });
    else if (key === 'c') {
      const said = await question(`Close ${this.#chosen().length === 1 ? 'it' : `${this.#chosen().length} incidents`}`, [
        { name: 'why', label: 'Why' },
        { name: 'false_positive', label: 'A false positive: its like is to stay quiet', kind: 'checkbox' },
      ]);
      if (said) await this.#decide({ status: 'closed', ...said });
    } else if (key === 'n') await this.#note();
    else return false;
    return true;
  }

  #chosen() {
    return this.#selected.size ? [...this.#selected] : [this.#current].filter(Boolean);
  }

  async #note() {
    const said = this.#current && await question('Note', [{ name: 'text', label: 'What the next one should know' }]);
    if (!said || !await known()) return;
    try {
      await annotate(this.#current, said.text);
      this.#open(this.#current);
    } catch (error) {
      this.#say(/** @type {Error} */ (error).message);
    }
  }

  async #decide(verdict) {
    if (this.#chosen().length === 0 || !await known()) return;
    for (const id of this.#chosen()) {
      try {
        this.changed(await decide(id, verdict));
      } catch (error) {
        this.#say(`${this.#known.get(id)?.title}: ${/** @type {Error} */ (error).message}`);
      }
    }
    this.#selected.clear();
    for (const row of this.#rows()) row.querySelector('input').checked = false;
    if (!at('incident').hidden) this.#open(this.#current);
  }

  #say(text) {
    at('link').hidden = false;
    at('link').textContent = text;
  }

  #select(id) {
    if (!id) return;
    if (!this.#selected.delete(id)) this.#selected.add(id);
    const box = this.#row_of(id)?.querySelector('input');
    if (box) box.checked = this.#selected.has(id);
  }

  #go(id, open) {
    this.#row_of(this.#current)?.removeAttribute('aria-current');
    this.#current = id;
    const row = this.#row_of(id);
    row?.setAttribute('aria-current', 'true');
    row?.scrollIntoView({ block: 'nearest' });
    if (open && id) this.#open(id);
  }

  #rows() { return /** @type {HTMLElement[]} */ ([...this.#list.children]); }

  #row_of(id) { return this.#rows().find((row) => row.dataset.id === id); }

  #showFresh() {
    at('fresh').hidden = this.#fresh.size === 0;
    at('fresh').textContent = `${this.#fresh.size} new: show (.)`;
  }

  #showCount() {
    at('calm').hidden = this.#known.size > 0;
  }

  #row(incident) {
    const { id, title, severity, status, count, agents, verdict, opinions } = incident;
    const dissent = verdict?.dissent?.length > 0;
    const row = el(
      'li',
      { 'data-id': id, 'data-severity': severity, 'data-status': status },
      el('input', { type: 'checkbox', title: 'select', 'aria-label': `select ${title}`, checked: this.#selected.has(id) }),
      mark(severity),
      el('a', { href: `/?view=incidents&incident=${id}`, onclick: (event) => event.preventDefault() }, title),
      el('span', { class: 'quiet' }, `${status} · ${count}× · ${agents.join(', ')}`,
        incident.grounded === false && ' · unproven', opinions.length > 0 && ` · ${opinions.length} opinions`, dissent && ' · dissent'),
      clock(incident.last_seen),
    );
    if (id === this.#current) row.setAttribute('aria-current', 'true');
    return row;
  }
}
