// Event stream of the server: a connection of this page, or, while events are
// wanted in the background, one of the shared worker for all tabs.

import { Feed } from './feed.js';

/** @import {Agent, Change, Finding, Stream} from './types' */
/** @import {Kind} from './feed.js' */
/** @import {FromWorker, ToWorker} from './feed-worker.js' */

/**
 * Time in ms after which a hidden page disconnects: a browser has six
 * connections per server, shared by its tabs.
 */
const HIDDEN_FOR = 30_000;

/**
 * @typedef {object} EventHandlers
 * @property {(finding: Finding) => void} finding
 * @property {(change: Change) => void} incident
 * @property {(agents: Agent[]) => void} agents
 * @property {(streams: Stream[]) => void} streams
 * @property {(error: string) => void} link Error of the connection; empty when there is none.
 */

export class Events {
  #handlers;
  #stays;
  #feed;
  /** Of the shared worker. @type {MessagePort | null} */ #port = null;
  /** True once the shared worker has failed. */ #alone = typeof SharedWorker === 'undefined';
  #last = '';
  #hidden = 0;

  /** @param {EventHandlers} handlers @param {() => boolean} stays True while events are wanted in the background. */
  constructor(handlers, stays) {
    this.#handlers = handlers;
    this.#stays = stays;
    // The session has ended: reloading the page shows the login form.
    this.#feed = new Feed({ event: (...event) => this.#event(...event), link: (error) => handlers.link(error), ended: () => location.reload() });
    // A page in the back/forward cache would keep its connection, and a few of
    // them would use up all.
    addEventListener('pagehide', () => this.#close());
    addEventListener('pageshow', ({ persisted }) => persisted && this.adapt());
    document.addEventListener('visibilitychange', () => this.#seen());
    this.adapt();
  }

  /** Connects the way that is wanted now. */
  adapt() {
    const shared = this.#stays() && !this.#alone;
    if (shared && !this.#port) this.#join();
    if (!shared && this.#port) this.#leave();
    if (!shared && this.#feed.isClosed) this.#feed.open(this.#last);
    this.#seen();
  }

  #seen() {
    clearTimeout(this.#hidden);
    if (this.#port || this.#stays()) return;
    if (document.hidden) this.#hidden = window.setTimeout(() => this.#feed.close(), HIDDEN_FOR);
    else if (this.#feed.isClosed) this.#feed.open(this.#last);
  }

  #join() {
    const worker = new SharedWorker('/page/feed-worker.js', { type: 'module', name: 'watchtower' });
    // Without it this page connects by itself.
    worker.onerror = () => {
      this.#alone = true;
      this.adapt();
    };
    const { port } = worker;
    this.#port = port;
    port.onmessage = ({ data }) => this.#message(data);
    this.#post({ from: this.#last });
  }

  #leave() {
    this.#post({ leave: true });
    this.#port?.close();
    this.#port = null;
  }

  /** @param {ToWorker} message */
  #post(message) {
    this.#port?.postMessage(message);
  }

  /** @param {FromWorker} message */
  #message(message) {
    // Its own connection was kept until now, so that no event is missed.
    this.#feed.close();
    if ('kind' in message) this.#event(message.kind, message.data, message.id);
    else if ('link' in message) this.#handlers.link(message.link);
    else location.reload();
  }

  #close() {
    this.#feed.close();
    if (this.#port) this.#leave();
  }

  /** @param {Kind} kind @param {string} data @param {string} id */
  #event(kind, data, id) {
    if (id) this.#last = id;
    this.#handlers[kind](JSON.parse(data));
  }
}
