// Incidents grouped by stream or subject, each group folded until it is opened.

import { ask } from './api.js';
import { soon, words } from './dom.js';
import { subjectOf } from './incidentrow.js';

/** @import {Group, Groups as GroupList, Incident, List} from './types' */
/** @import {Filters} from './filters.js' */
/** @import {GroupRow, ListRow, MoreRow} from './incidentrow.js' */

/** Groups that are listed; the worst come first. */
const GROUPS = 500;
/** Incidents loaded of a group at once. */
const PAGE = 100;
/** Shortest interval of counting again, in ms. */
const AGAIN = 2000;

export class Groups {
  #filters;
  #show;
  #say;
  /** @type {Map<string, Group>} */ #groups = new Map();
  /** Loaded incidents of the groups that are unfolded. @type {Map<string, {items: Incident[], next: string | null}>} */
  #unfolded = new Map();
  #by = '';
  #waits = 0;
  #draw = soon(() => this.#by && this.#show(this.rows));

  /** @param {Filters} filters @param {(rows: ListRow[]) => void} show @param {(text: string) => void} say */
  constructor(filters, show, say) {
    this.#filters = filters;
    this.#show = show;
    this.#say = say;
  }

  /** Loads the groups; those that were unfolded stay so. */
  async load() {
    const by = this.#filters.group;
    const open = by === this.#by ? [...this.#unfolded.keys()] : [];
    const list = await this.#fetched();
    const groups = new Map(list.items.map((group) => [group.name, group]));
    const pages = await Promise.all(open.filter((name) => groups.has(name)).map(async (name) => /** @type {const} */ ([name, await this.#page(name, null)])));
    [this.#by, this.#groups, this.#unfolded] = [by, groups, new Map(pages)];
    return this.rows;
  }

  /** @returns {ListRow[]} */
  get rows() {
    return [...this.#groups.values()].flatMap((group) => {
      const { name, count } = group;
      const loaded = this.#unfolded.get(name);
      /** @type {ListRow[]} */
      const rows = [{ id: `group:${name}`, key: name, group, unfolded: Boolean(loaded) }];
      if (loaded) rows.push(...loaded.items);
      if (loaded?.next) rows.push({ id: `more:${name}`, more: name, left: Math.max(1, count - loaded.items.length) });
      return rows;
    });
  }

  /** True if an incident belongs to no group that is there, or to one whose incidents are shown. @param {Incident} incident */
  lacks(incident) {
    const name = this.#nameOf(incident);
    return !this.#groups.has(name) || this.#unfolded.has(name);
  }

  /** @param {Incident} incident */
  #nameOf(incident) {
    return this.#by === 'stream' ? incident.stream : subjectOf(incident);
  }

  /** Handles a change of an incident that is shown. @param {Incident} incident */
  change(incident) {
    for (const { items } of this.#unfolded.values()) {
      const place = items.findIndex(({ id }) => id === incident.id);
      if (place >= 0) items[place] = incident;
    }
    if (this.#filters.group) this.changed();
  }

  /** @param {Set<string>} ids */
  remove(ids) {
    for (const loaded of this.#unfolded.values()) loaded.items = loaded.items.filter(({ id }) => !ids.has(id));
  }

  /** Counts again soon. Groups that are not there yet are not added: nothing moves by itself. */
  changed() {
    if (this.#waits) return;
    this.#waits = window.setTimeout(async () => {
      this.#waits = 0;
      const list = await this.#fetched().catch(() => null);
      if (!list || this.#by !== this.#filters.group) return;
      const now = new Map(list.items.map((group) => [group.name, group]));
      for (const [name, group] of this.#groups) this.#groups.set(name, now.get(name) ?? { ...group, count: 0, by_severity: { critical: 0, high: 0, medium: 0, low: 0, info: 0 } });
      this.#draw();
    }, AGAIN);
  }

  /** Folds or unfolds a group, or loads more of it. @param {GroupRow | MoreRow} row */
  async open(row) {
    const name = 'more' in row ? row.more : row.key;
    const loaded = this.#unfolded.get(name);
    try {
      if ('more' in row) {
        const more = await this.#page(name, loaded?.next ?? null);
        const there = new Set(loaded?.items.map(({ id }) => id));
        this.#unfolded.set(name, { ...more, items: [...loaded?.items ?? [], ...more.items.filter(({ id }) => !there.has(id))] });
      } else if (loaded) this.#unfolded.delete(name);
      else this.#unfolded.set(name, await this.#page(name, null));
    } catch (error) {
      this.#say(words(error));
    }
    this.#draw();
  }

  /** @returns {Promise<GroupList>} */
  #fetched() {
    const query = this.#filters.query;
    query.set('by', this.#filters.group);
    query.set('limit', String(GROUPS));
    return ask(`/api/incidents/groups?${query}`);
  }

  /** @param {string} name @param {string | null} cursor */
  async #page(name, cursor) {
    const query = this.#filters.query;
    query.set(this.#filters.group, name);
    query.set('sort', this.#filters.sort);
    query.set('order', this.#filters.order);
    query.set('limit', String(PAGE));
    if (cursor) query.set('cursor', cursor);
    /** @type {List<Incident>} */
    const page = await ask(`/api/incidents?${query}`);
    return { items: page.items, next: page.next ?? null };
  }
}
