// List loaded page by page: a button below loads the next.

import { ask } from './api.js';
import { el, words } from './dom.js';
import { counted } from './format.js';

/** @import {List} from './types' */

/** @template T */
export class Pages {
  #list;
  #show;
  #more;
  #path = '';
  /** @type {string | null} */
  #next = null;

  /** @param {HTMLElement} list @param {(item: T) => HTMLElement} show */
  constructor(list, show) {
    this.#list = list;
    this.#show = show;
    this.#more = el('button', { type: 'button', class: 'more', hidden: true, onclick: () => this.#load() });
    list.after(this.#more);
  }

  /** Reloads from the first page. @param {string} path with a query */
  async start(path) {
    this.#path = path;
    this.#next = null;
    const first = await this.#fetched('');
    if (first) this.#list.replaceChildren(...first.items.map(this.#show));
  }

  clear() {
    this.#path = '';
    this.#more.hidden = true;
    this.#list.replaceChildren();
  }

  /** Count of the loaded items. @param {string} what */
  count(what) {
    return counted(this.length, what, Boolean(this.#next));
  }

  get length() {
    return this.#list.children.length;
  }

  async #load() {
    try {
      const page = await this.#fetched(`&cursor=${encodeURIComponent(this.#next ?? '')}`);
      this.#list.append(...page?.items.map(this.#show) ?? []);
    } catch (error) {
      this.#more.textContent = `${words(error)}: retry`;
    }
  }

  /** Loads a page; null if another list was requested meanwhile. @param {string} cursor */
  async #fetched(cursor) {
    const path = this.#path;
    /** @type {List<T>} */
    const page = await ask(path + cursor);
    if (path !== this.#path) return null;
    this.#next = page.next ?? null;
    this.#more.hidden = !this.#next;
    this.#more.textContent = 'Load more';
    return page;
  }
}
