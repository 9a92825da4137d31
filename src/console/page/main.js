import { Boxes } from '/page/boxes.js';
import { help } from '/page/dialog.js';
import { at, el } from '/page/dom.js';
import { Findings } from '/page/findings.js';
import { prepare as prepareHandover, show as showHandover } from '/page/handover.js';
import { prepare as prepareHistory, show as showHistory } from '/page/history.js';
import { show as showIncident } from '/page/incident.js';
import { Panel } from '/page/panel.js';
import { prepare as prepareQuestion } from '/page/question.js';
import { find, prepare } from '/page/search.js';
import { show as showSetup } from '/page/setup.js';
import { Triage } from '/page/triage.js';
import { Player } from '/page/whep.js';

const VIEWS = ['live', 'incidents', 'panel', 'search', 'history', 'handover', 'setup'];

const video = /** @type {HTMLVideoElement} */ (at('video'));
const streamList = /** @type {HTMLSelectElement} */ (at('streams'));
const player = new Player(video);
const findings = new Findings(at('findings'), at('none'));
const boxes = new Boxes(at('boxes'), video);
const panel = new Panel();
const triage = new Triage((id) => go('incidents', id ? { incident: id } : {}));
prepare();
prepareHistory();
prepareHandover();
prepareQuestion();

let view = '';
/** @type {any[]} */
let streams = [];
let playing = { state: 'connecting', why: '' };

// The view, and what of it, stand in the address: it can be shared.
function go(name, what = {}) {
  const query = name === 'live' ? '' : `?${new URLSearchParams({ view: name, ...what })}`;
  history.pushState(null, '', `/${query}${location.hash}`);
  route();
}

async function route() {
  const query = new URLSearchParams(location.search);
  const wanted = VIEWS.includes(query.get('view') ?? '') ? String(query.get('view')) : 'live';
  const turned = wanted !== view;
  view = wanted;
  for (const name of VIEWS) at(name).hidden = name !== view;
  for (const link of document.querySelectorAll('#views a')) {
    if (/** @type {HTMLElement} */ (link).dataset.view === view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  try {
    if (view === 'incidents') {
      if (turned) await triage.load();
      const id = query.get('incident');
      at('incident').hidden = !id;
      if (id) await showIncident(id);
    } else if (view === 'panel' && turned) {
      panel.draw();
      await panel.load();
    } else if (view === 'setup' && turned) await showSetup();
    else if (view === 'history' && turned) await showHistory();
    else if (view === 'handover' && turned) await showHandover();
    else if (view === 'search' && query.get('q')) await find(String(query.get('q')));
  } catch (error) {
    linked(/** @type {Error} */ (error).message);
  }
}

window.addEventListener('popstate', route);
document.addEventListener('click', (event) => {
  const link = /** @type {HTMLElement} */ (event.target).closest?.('a[href^="/?view="], a[data-view]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const query = Object.fromEntries(new URL(/** @type {HTMLAnchorElement} */ (link).href).searchParams);
  const { view: name = 'live', ...what } = query;
  go(name, what);
});
document.addEventListener('keydown', async (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches('input:not([type=checkbox]), select, textarea, dialog *')) return;
  const number = Number(event.key);
  if (event.key === '?') help();
  else if (number >= 1 && number <= VIEWS.length) go(VIEWS[number - 1]);
  else if (view !== 'incidents' || target.matches('button, a[data-view]') && event.key === 'Enter') return;
  else if (event.key === 'Escape' && !at('incident').hidden) go('incidents');
  else if ('jkxoacrn.'.includes(event.key) || event.key === 'Enter') {
    event.preventDefault();
    await triage.key(event.key);
  } else return;
  event.preventDefault();
});

at('theme').addEventListener('click', () => {
  const light = matchMedia('(prefers-color-scheme: light)').matches;
  const now = document.documentElement.dataset.theme ?? (light ? 'light' : 'dark');
  localStorage.setItem('watchtower.theme', now === 'dark' ? 'light' : 'dark');
  showTheme();
});
function showTheme() {
  const theme = localStorage.getItem('watchtower.theme');
  if (theme) document.documentElement.dataset.theme = theme;
}

player.addEventListener('state', (event) => {
  playing = /** @type {CustomEvent} */ (event).detail;
  showState();
});

streamList.addEventListener('change', () => choose(streamList.value));

at('sound').addEventListener('click', () => {
  video.muted = !video.muted;
  showSound();
});
at('volume').addEventListener('input', (event) => {
  video.volume = Number(/** @type {HTMLInputElement} */ (event.target).value);
  video.muted = video.volume === 0;
  showSound();
});
at('full').addEventListener('click', () => video.requestFullscreen());

function showSound() {
  at('sound').textContent = video.muted ? 'Sound on' : 'Sound off';
  at('sound').setAttribute('aria-pressed', String(!video.muted));
}

// The stream in the address (#team) if it is there, else the first.
function showStreams(items) {
  streams = items;
  const wanted = decodeURIComponent(location.hash.slice(1));
  const options = items.map(({ name }) => new Option(name, name));
  streamList.replaceChildren(...(options.length ? options : [new Option('none live', '')]));
  streamList.disabled = items.length === 0;
  const chosen = items.find(({ name }) => name === wanted) ?? items[0];
  streamList.value = chosen?.name ?? '';
  boxes.stream = streamList.value;
  player.play(chosen?.name ?? null);
  showState();
}

function choose(name) {
  history.replaceState(null, '', `${location.pathname}${location.search}#${encodeURIComponent(name)}`);
  boxes.stream = name;
  player.play(name);
}

function showState() {
  const stream = streams.find(({ name }) => name === streamList.value);
  let [is, text] = ['', 'no stream: publish one over RTMP'];
  if (stream?.state === 'signal_lost') [is, text] = ['lost', 'signal lost, waiting for the publisher'];
  else if (stream && playing.state === 'live') [is, text] = ['live', ['live', playing.why].filter(Boolean).join(': ')];
  else if (stream && playing.state === 'waiting') text = `${playing.why}; trying again`;
  else if (stream) text = 'connecting';
  at('state').dataset.is = is;
  at('state').textContent = text;
}

function showAgents(agents) {
  const enabled = agents.filter((agent) => agent.enabled);
  at('agents').replaceChildren(...enabled.map((agent) => el('li', {}, el('b', {}, agent.name), ` ${agent.state}`)));
  panel.agents(agents);
  triage.agents(agents);
}

function showFinding(finding) {
  findings.add(finding);
  panel.finding(finding);
}

function linked(text) {
  at('link').hidden = !text;
  at('link').textContent = text;
}

async function catchUp() {
  linked('');
  const response = await fetch('/api/findings?limit=100');
  if (!response.ok) return;
  const { items } = await response.json();
  items.forEach(showFinding);
}

const events = new EventSource('/api/events');
const on = (name, show) => events.addEventListener(name, ({ data }) => show(JSON.parse(data)));
// Whenever it is connected anew something may have been missed.
events.addEventListener('open', catchUp);
events.addEventListener('error', () => linked('connection lost, trying again'));
on('finding', (finding) => {
  showFinding(finding);
  boxes.show(finding);
});
on('incident', (change) => {
  triage.changed(change);
  panel.changed(change);
});
on('agents', showAgents);
on('streams', showStreams);
showTheme();
route();
