import { Findings } from '/page/findings.js';
import { Player } from '/page/whep.js';

const at = (id) => document.getElementById(id);
const video = at('video');
const player = new Player(video);
const findings = new Findings(at('findings'), at('none'));

let streams = [];
let playing = { state: 'connecting', why: '' };

player.addEventListener('state', ({ detail }) => {
  playing = detail;
  showState();
});

at('streams').addEventListener('change', (event) => choose(event.target.value));

at('sound').addEventListener('click', () => {
  video.muted = !video.muted;
  showSound();
});
at('volume').addEventListener('input', (event) => {
  video.volume = Number(event.target.value);
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
  at('streams').replaceChildren(...(options.length ? options : [new Option('none live', '')]));
  at('streams').disabled = items.length === 0;
  const chosen = items.find(({ name }) => name === wanted) ?? items[0];
  at('streams').value = chosen?.name ?? '';
  player.play(chosen?.name ?? null);
  showState();
}

function choose(name) {
  history.replaceState(null, '', `#${encodeURIComponent(name)}`);
  player.play(name);
}

function showState() {
  const stream = streams.find(({ name }) => name === at('streams').value);
  let [is, text] = ['', 'no stream: publish one over RTMP'];
  if (stream?.state === 'signal_lost') [is, text] = ['lost', 'signal lost, waiting for the publisher'];
  else if (stream && playing.state === 'live') [is, text] = ['live', ['live', playing.why].filter(Boolean).join(': ')];
  else if (stream && playing.state === 'waiting') text = `${playing.why}; trying again`;
  else if (stream) text = 'connecting';
  at('state').dataset.is = is;
  at('state').textContent = text;
}

function showAgents(agents) {
  at('agents').replaceChildren(...agents.filter((agent) => agent.enabled).map((agent) => {
    const item = document.createElement('li');
    const name = document.createElement('b');
    name.textContent = agent.name;
    item.append(name, ` ${agent.state}`);
    return item;
  }));
}

async function catchUp() {
  const response = await fetch('/api/findings?limit=100');
  if (!response.ok) return;
  const { items } = await response.json();
  items.forEach((finding) => findings.add(finding));
}

const events = new EventSource('/api/events');
const on = (name, show) => events.addEventListener(name, ({ data }) => show(JSON.parse(data)));
// Whenever it is connected anew something may have been missed.
events.addEventListener('open', catchUp);
on('finding', (finding) => findings.add(finding));
on('agents', showAgents);
on('streams', showStreams);
