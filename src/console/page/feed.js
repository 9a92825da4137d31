// One connection to the event stream of the server (server-sent events).
//
// A browser reconnects by itself after a broken connection, but gives up when
// the server responds with an error; then this reads the reason and retries.
// Used by the page and by the shared worker.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/** Kinds of event. */
const KINDS = /** @type {const} */ (['finding', 'incident', 'agents', 'streams']);

/** @typedef {typeof KINDS[number]} Kind */

/**
 * @typedef {object} FeedHandlers
 * @property {(kind: Kind, data: string, id: string) => void} event
 * @property {(error: string) => void} link Error of the connection; empty when there is none.
 * @property {() => void} ended The session has ended.
 */

/** Position of an id, which counts findings and changes of incidents. @param {string} id */
const place = (id) => id.split('-').map(Number);

/** Position before both. @param {string} one @param {string} other */
export const earlier = (one, other) => place(one).map((count, nth) => Math.min(count, place(other)[nth])).join('-');

/** True if an id has something that is not before `known`. @param {string} id @param {string} known */
export const isAfter = (id, known) => place(id).some((count, nth) => count > place(known)[nth]);

export class Feed {
  #handlers;
  /** @type {EventSource | null} */ #source = null;
  #last = '';
  #pause = FIRST_PAUSE;
  #again = 0;

  /** @param {FeedHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** Id of the last event. */
  get last() { return this.#last; }

  get isClosed() { return this.#source === null; }

  /** Opens the connection, or opens it anew. @param {string} from Id of the last event known; empty for those from now on. */
  open(from) {
    this.close();
    this.#last = from;
    const source = new EventSource(`/api/events${from ? `?last_event_id=${encodeURIComponent(from)}` : ''}`);
    this.#source = source;
    source.addEventListener('open', () => {
      this.#pause = FIRST_PAUSE;
      this.#handlers.link('');
    });
    source.addEventListener('error', () => {
      if (source !== this.#source) return;
      this.#handlers.link('Reconnecting…');
      if (source.readyState === EventSource.CLOSED) this.#retry(source);
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, ({ data, lastEventId }) => {
        if (source !== this.#source) return;
        if (lastEventId) this.#last = lastEventId;
        this.#handlers.event(kind, data, lastEventId);
      });
    }
  }

  close() {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {EventSource} source */
  async #retry(source) {
    const response = await fetch('/api/agents').catch(() => null);
    if (source !== this.#source) return;
    if (response?.status === 401) {
      this.close();
      return this.#handlers.ended();
    }
    this.#again = setTimeout(() => this.open(this.#last), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}
