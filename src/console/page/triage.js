// Incident triage: by keys, by buttons, or several at once.
//
// Rows change in place and only move on request, so that nothing moves under
// the pointer.

import { ACTIONS, actionButton, keyed } from './actions.js';
import { annotate, ask, assign, decide, serverNow, snooze, undo, who } from './api.js';
import { known, question } from './dialog.js';
import { at, el, fill, foreign, soon, words } from './dom.js';
import { Filters } from './filters.js';
import { counted, fromField, number } from './format.js';
import { Groups } from './groups.js';
import { again, changedTo, titleOf, versionOf } from './incident.js';
import { equip, groupRow, incidentRow, isEquipped, isIncident, moreRow } from './incidentrow.js';
import { Overview } from './overview.js';
import { Rows } from './rows.js';
import { SNOOZES } from './snooze.js';
import { Sparks } from './sparks.js';
import { done } from './toast.js';

/** @import {Change, Incident, List, Verdict} from './types' */
/** @import {ListRow} from './incidentrow.js' */

const PAGE = 200;
/** Maximum count shown. */
const MOST_FRESH = 999;

export class Triage {
  /** @type {Set<string>} */ #selected = new Set();
  /** @type {Set<string>} */ #fresh = new Set();
  #filters;
  #overview;
  #sparks = new Sparks(at('triage'));
  #groups;
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
  #open;
  #say;
  /** @type {Rows<ListRow>} */ #rows;

  /** @param {(id: string) => void} open Called with the id of an opened incident. @param {(text: string) => void} say */
  constructor(open, say) {
    this.#open = open;
    this.#say = say;
    this.#rows = new Rows(at('list'), at('triage'), (row, before) => this.#row(row, before), () => this.#more());
    this.#filters = new Filters(() => {
      this.#open(at('incident').hidden ? '' : this.#current);
      this.reload();
    });
    this.#overview = new Overview(this.#filters);
    this.#groups = new Groups(this.#filters, (rows) => this.#rows.show(rows), say);
    at('fresh').addEventListener('click', () => this.reload());
    at('gone').addEventListener('click', () => this.#hide());
    at('triage').addEventListener('click', (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const id = target.closest('li')?.dataset.id;
      if (id && target.closest('.group')) this.#go(id, true);
      if (!id || target.closest('button, .group')) return;
      if (target.matches('input')) this.#select(id);
      // A label passes its click on to its box.
      else if (!target.closest('label')) this.#go(id, true);
    });
    at('triage').addEventListener('keydown', (event) => {
      const { key, target } = event;
      const fold = /** @type {HTMLElement} */ (target).closest('.fold[aria-expanded]');
      const turns = { ArrowRight: 'false', ArrowLeft: 'true' }[key];
      if (!fold || fold.getAttribute('aria-expanded') !== turns) return;
      event.preventDefault();
      /** @type {HTMLElement} */ (fold).click();
    });
    for (const kind of ['pointerover', 'focusin']) at('triage').addEventListener(kind, ({ target }) => this.#equip(/** @type {HTMLElement} */ (target)));
    at('triage').addEventListener('focusin', (event) => {
      const id = /** @type {HTMLElement} */ (event.target).closest('li')?.dataset.id;
      // Keys act on what is shown, else on the row that the focus moved to. A
      // row that was drawn again gets it back from nowhere.
      if (id && event.relatedTarget && at('incident').hidden) this.#point(id);
    });
    this.#showSelected();
  }

  /** Reloads from the top. */
  async load() {
    this.#load += 1;
    at('triage').parentElement?.parentElement?.classList.toggle('pictures', this.#filters.pictures);
    const fresh = [...this.#fresh];
    this.#overview.load();
    const first = this.#filters.group ? await this.#grouped() : await this.#page(null);
    if (!first) return;
    for (const id of [...fresh, ...first.map(({ id }) => id)]) this.#fresh.delete(id);
    this.#showFresh();
    at('list').scrollTop = 0;
    this.#rows.show(first);
    at('calm').hidden = first.length > 0;
    const kept = !at('incident').hidden || first.some(({ id }) => id === this.#current);
    this.#go(kept ? this.#current : first[0]?.id ?? '', false);
    this.#showGone();
  }

  /** Rows of the groups; null if a newer load has started. */
  async #grouped() {
    const load = this.#load;
    this.#next = null;
    const rows = await this.#groups.load();
    return load === this.#load ? rows : null;
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

  get filters() {
    return this.#filters;
  }

  /** Sets the filters from the URL. @param {URLSearchParams} query @returns {boolean} True if the list changes. */
  set(query) {
    return this.#filters.set(query);
  }

  /** Selects the shown incident as the target of keys. @param {string} id */
  at(id) {
    if (id) this.#go(id, false);
  }

  /** Loaded incidents. */
  get #incidents() {
    return this.#rows.items.filter(isIncident);
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
    const page = await this.#fetched(cursor);
    if (load !== this.#load) return null;
    this.#next = page.next ?? null;
    return page.items;
  }

  /** @param {string | null} cursor @returns {Promise<List<Incident>>} */
  async #fetched(cursor) {
    const query = this.#filters.query;
    query.set('limit', String(PAGE));
    query.set('sort', this.#filters.sort);
    query.set('order', this.#filters.order);
    if (cursor) query.set('cursor', cursor);
    return ask(`/api/incidents?${query}`);
  }

  /** Announces the incidents whose snooze has ended. */
  async woken() {
    if (this.#load === 0) return;
    this.#overview.changed();
    if (this.#filters.group) return this.#groups.changed();
    const page = await this.#fetched(null).catch(() => null);
    const there = new Set(this.#rows.items.map(({ id }) => id));
    for (const { id } of page?.items ?? []) if (!there.has(id)) this.#fresh.add(id);
    there.forEach((id) => this.#rows.touch(id));
    if (this.#rows.items.length === 0) this.#fill();
    this.#showFresh();
  }

  /** Loaded incidents with all these words in their title. @param {string} text */
  named(text) {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    return this.#incidents.filter(({ title }) => wanted.every((word) => title.toLowerCase().includes(word))).slice(0, 5);
  }

  /** Incident that keys act on, or the first of the selected ones; null without. */
  get target() {
    const [id] = this.#chosen();
    return this.#incidents.find((one) => one.id === id) ?? null;
  }

  /** Handles a change of an incident. @param {Pick<Change, 'incident'>} change */
  changed({ incident }) {
    this.#fresh.delete(incident.id);
    this.#sparks.stale(incident.id);
    // There is no list before the view is first opened.
    if (this.#load > 0) this.#overview.changed();
    if (this.#rows.items.some(({ id }) => id === incident.id)) {
      this.#rows.change(incident);
      this.#groups.change(incident);
      this.#showGone();
      return;
    }
    if (this.#load > 0 && this.#filters.matches(incident)) {
      const shown = !this.#filters.group || this.#groups.lacks(incident);
      if (shown && this.#fresh.size < MOST_FRESH) this.#fresh.add(incident.id);
      if (this.#rows.items.length === 0) this.#fill();
      else if (this.#filters.group) this.#groups.changed();
    }
    this.#showFresh();
  }

  /** Rows that no longer match the filters: they stay until the user hides them. */
  get #gone() {
    return this.#incidents.filter((incident) => !this.#filters.matches(incident));
  }

  #showGone() {
    const gone = this.#gone;
    const closed = gone.every(({ status }) => status === 'closed');
    at('gone').hidden = gone.length === 0;
    at('gone').textContent = `${number(gone.length)} ${closed ? 'closed' : 'not matching'} · hide`;
  }

  #hide() {
    const gone = new Set(this.#gone.map(({ id }) => id));
    const items = this.#rows.items;
    const here = items.findIndex(({ id }) => id === this.#current);
    const left = items.filter(({ id }) => !gone.has(id));
    const next = items.slice(here).find(({ id }) => !gone.has(id)) ?? left.at(-1);
    this.#groups.remove(gone);
    this.#rows.show(left);
    at('calm').hidden = left.length > 0;
    if (gone.has(this.#current) && at('incident').hidden) this.#go(next?.id ?? '', false);
    this.#showGone();
  }

  /** @param {string} key */
  async key(key) {
    const items = this.#rows.items;
    const here = items.findIndex(({ id }) => id === this.#current);
    const opened = !at('incident').hidden;
    const step = { j: 1, k: -1 }[key];
    if (step) {
      const focused = at('triage').contains(document.activeElement);
      this.#go(items[Math.min(Math.max(here + step, 0), items.length - 1)]?.id ?? '', opened);
      if (focused) /** @type {HTMLElement | null} */ (at('triage').querySelector('[aria-current] a'))?.focus({ preventScroll: true });
    }
    else if (key === 'Enter' || key === 'o') this.#go(this.#current, true);
    else if (key === 'x') this.#select(this.#current);
    else if (key === 'X') this.#range(here);
    else if (key === '*') this.#all();
    else if (key === '.') await this.reload();
    else await this.act(key);
  }

  /** Performs the action of a key. @param {string} key @param {string[]} [ids] The selected incidents unless given. */
  async act(key, ids = this.#chosen()) {
    if (ids.length === 0) return;
    if (key === 'a') await this.#decide('Acknowledged', { status: 'acknowledged' }, ids);
    else if (key === 'r') await this.#decide('Reopened', { status: 'new' }, ids);
    else if (key === 'c' || key === 'f') await this.#close(ids, key === 'f');
    else if (key === 'i') await this.#assign(ids);
    else if (key === 's') await this.#snooze(ids);
    else if (key === 'n') await this.#note(ids);
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
    if (this.#selected.size > 0) return [...this.#selected];
    const row = this.#rows.items.find(({ id }) => id === this.#current);
    return this.#current && (!row || isIncident(row)) ? [this.#current] : [];
  }

  /** @param {string} id */
  #title(id) {
    return this.#incidents.find((one) => one.id === id)?.title ?? (titleOf(id) || id);
  }

  /** Title of a dialog or notice about some. @param {string} what @param {string[]} ids */
  #about(what, ids) {
    return ids.length === 1 ? `${what} incident` : `${what} ${counted(ids.length, 'incident')}`;
  }

  /** Title of the only one, for a dialog. @param {string[]} ids */
  #only(ids) {
    return ids.length === 1 ? this.#title(ids[0]) : '';
  }

  /** @param {string[]} ids @param {boolean} falsePositive */
  async #close(ids, falsePositive) {
    if (!await known()) return;
    const input = await question(
      falsePositive ? 'Close as false positive' : this.#about('Close', ids),
      ids.length === 1 ? 'Close incident' : 'Close incidents',
      [
        { name: 'why', label: 'Reason', value: this.#draft.why || (falsePositive ? 'False positive' : '') },
        ...(falsePositive ? [] : [{ name: 'false_positive', label: 'False positive: suppress similar findings', kind: 'checkbox' }]),
      ],
      this.#only(ids),
      falsePositive ? 'Similar findings will be suppressed.' : '',
    );
    if (!input) return;
    this.#draft.why = String(input.why);
    const suppress = falsePositive || Boolean(input.false_positive);
    await this.#decide(suppress ? 'Closed as false positive' : 'Closed', { status: 'closed', why: this.#draft.why, false_positive: suppress }, ids);
  }

  /** @param {string[]} ids */
  async #assign(ids) {
    if (!await known()) return;
    const input = await question(this.#about('Assign', ids), 'Assign', [{ name: 'owner', label: 'Owner (empty: nobody)', value: who.name, longest: 100, optional: true }], this.#only(ids));
    if (!input) return;
    const owner = String(input.owner).trim() || null;
    await this.#apply(owner ? `Assigned to ${owner}` : 'Unassigned', ids, (id) => assign(id, owner, versionOf(id)));
  }

  /** @param {string[]} ids */
  async #snooze(ids) {
    if (!await known()) return;
    const input = await question(this.#about('Snooze', ids), 'Snooze', [
      { name: 'for', label: 'For', options: SNOOZES.map(({ name }, nth) => [String(nth), name]) },
      { name: 'until', label: 'Or until', kind: 'when', optional: true },
    ], this.#only(ids));
    if (!input) return;
    const until = fromField(String(input.until)) ?? SNOOZES[Number(input.for)].until(new Date(serverNow()));
    await this.#apply(until ? 'Snoozed' : 'Snooze ended', ids, (id) => snooze(id, until?.toISOString() ?? null, versionOf(id)));
  }

  /** @param {string[]} ids */
  async #note(ids) {
    if (!await known()) return;
    const input = await question(ids.length === 1 ? 'Add note' : this.#about('Add note to', ids), 'Add note', [{ name: 'text', label: 'Note for next shift', value: this.#draft.text }], this.#only(ids));
    if (!input) return;
    this.#draft.text = String(input.text);
    this.#say('');
    try {
      for (const id of ids) this.changed(await annotate(id, this.#draft.text));
      this.#draft.text = '';
      done(['Note added'], null);
    } catch (error) {
      this.#say(`${words(error)}; draft kept, n to retry`);
    }
    await again();
  }

  /** @param {string} said @param {Omit<Verdict, 'by' | 'version'>} verdict @param {string[]} ids */
  async #decide(said, verdict, ids) {
    if (!await known()) return;
    const why = verdict.why ?? '';
    const all = await this.#apply(said, ids, (id) => decide(id, { false_positive: false, ...verdict, why, version: versionOf(id) }));
    if (all && why) this.#draft.why = '';
  }

  /**
   * Changes some incidents, after the changes before; true if all were.
   * @param {string} said What it is called when it is done.
   * @param {string[]} ids
   * @param {(id: string) => Promise<Change>} change
   * @returns {Promise<boolean>}
   */
  #apply(said, ids, change) {
    const applied = this.#turn.then(() => this.#applyAll(said, ids, change));
    this.#turn = applied.then(() => {});
    return applied;
  }

  /** @param {string} said @param {string[]} ids @param {(id: string) => Promise<Change>} change */
  async #applyAll(said, ids, change) {
    const failed = [];
    /** @type {{id: string, version: number}[]} */
    const made = [];
    this.#say('');
    for (const id of ids) {
      try {
        const now = await change(id);
        changedTo(id, now.version);
        this.changed(now);
        made.push({ id, version: now.version });
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
    if (made.length > 0) {
      const what = made.length === 1 ? foreign(this.#title(made[0].id)) : counted(made.length, 'incident');
      done([`${said}: `, what], () => this.#undo(made));
    }
    await again();
    return failed.length === 0;
  }

  /** @param {{id: string, version: number}[]} made */
  #undo(made) {
    this.#turn = this.#turn.then(async () => {
      const failed = [];
      for (const { id, version } of made) {
        try {
          const now = await undo(id, version);
          changedTo(id, now.version);
          this.changed(now);
        } catch (error) {
          failed.push(`${this.#title(id)}: ${words(error)}`);
        }
      }
      if (failed.length > 0) this.#say(failed.join('; '));
      else done(['Undone'], null);
      await again();
    });
  }

  /** @param {string} id */
  #select(id) {
    if (!this.#incidents.some((one) => one.id === id)) return;
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
    for (const { id } of items.slice(Math.min(from, here), Math.max(from, here) + 1).filter(isIncident)) {
      this.#selected.add(id);
      this.#rows.touch(id);
    }
    this.#showSelected();
  }

  /** Selects all loaded ones, or none. */
  #all() {
    const items = this.#incidents;
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
    if (!open || !id) return;
    const row = this.#rows.items[place];
    if (row && !isIncident(row)) this.#groups.open(row);
    else this.#open(id);
  }

  #showFresh() {
    const count = this.#fresh.size;
    at('fresh').hidden = count === 0;
    at('fresh').textContent = `${count}${count === MOST_FRESH ? '+' : ''} new: show (.)`;
  }

  #showSelected() {
    const count = this.#selected.size;
    at('chosen').textContent = count > 0 ? `${number(count)} selected` : '';
    if (at('bar').hidden === (count === 0)) return;
    at('bar').hidden = count === 0;
    fill(at('bar'), at('chosen'), ...(count > 0 ? [
      ...ACTIONS.map((action) => actionButton(action)),
      el('button', { type: 'button', class: 'act', 'aria-keyshortcuts': 'Escape', onclick: () => this.deselect() }, el('span', {}, 'Clear selection'), keyed('Esc')),
    ] : []));
    document.body.classList.toggle('selecting', count > 0);
  }

  /** Makes a row the one that keys act on, without drawing it again under the pointer. @param {string} id */
  #point(id) {
    if (id === this.#current) return;
    at('triage').querySelector('[aria-current]')?.removeAttribute('aria-current');
    at('triage').querySelector(`[data-id="${CSS.escape(id)}"]`)?.setAttribute('aria-current', 'true');
    this.#current = id;
  }

  /** Gives the row of an element its buttons. @param {HTMLElement} inside */
  #equip(inside) {
    const row = inside.closest('li');
    const incident = this.#incidents.find(({ id }) => id === row?.dataset.id);
    if (row && incident) equip(row, incident);
  }

  /** @param {ListRow} row @param {HTMLElement} [before] */
  #row(row, before) {
    const current = row.id === this.#current;
    if (!isIncident(row)) return 'group' in row ? groupRow(row, { current, by: this.#filters.group }) : moreRow(row, current);
    const parts = this.#sparks.parts(row.id, this.#filters.pictures);
    const made = incidentRow(row, { selected: this.#selected.has(row.id), current, parts });
    // The focus may be on a button, and the pointer over it.
    if (isEquipped(before)) equip(made, row);
    return made;
  }
}
