/** The look of the report: light and dark, from phone to wide screen, with the fonts that are there. */
export const reportStyle = `
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #626a73; --line: #dfe3e8; --back: #fff; --card: #f6f7f9;
  --ok: #1a7f37; --bad: #c62828; --wait: #9a6700; --same: #8b949e; --link: #0b63c4; --window: #8250df; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa4af; --line: #30363d; --back: #0f1216;
  --card: #181c21; --ok: #4ac26b; --bad: #ff7b72; --wait: #e3b341; --same: #6e7681; --link: #79b8ff; --window: #b392f0; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); overflow-wrap: anywhere }
h1 { font: 600 1.25rem/1.3 ui-monospace, monospace; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere }
header p, em, .time, .ticks { color: var(--soft); font-style: normal }
.badge { padding: .1rem .6rem; border-radius: 1rem; color: #fff; background: var(--same); font-weight: 600 }
.badge.ok { background: #1a7f37 } .badge.failed, .badge.aborted { background: #c62828 } .badge.unfinished, .badge.stopped { background: #9a6700 }
pre { margin: .3rem 0; padding: .5rem .7rem; background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  font: 12.5px/1.45 ui-monospace, monospace; overflow: auto; max-height: 32rem; white-space: pre-wrap; overflow-wrap: anywhere }
code { font: 13px ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.error { border-left: 4px solid var(--bad); padding: .1rem 1rem; background: var(--card); border-radius: .3rem }
.error h2 { color: var(--bad); margin-top: .5rem } .next { color: var(--link) }
details.task { margin: .3rem 0 .3rem 0; padding-left: .9rem; border-left: 2px solid var(--line) }
summary { cursor: pointer; list-style-position: outside } .work, .line { padding: .1rem 0; content-visibility: auto; contain-intrinsic-size: auto 1.6rem }
details.work[open] { content-visibility: visible }
.mark { display: inline-block; width: 1.2rem; color: var(--same) } .mark.ok { color: var(--ok) } .mark.failed, .mark.aborted { color: var(--bad) }
.mark.unfinished, .mark.stopped { color: var(--wait) }
.time { margin-left: .6rem; font-size: .85rem; white-space: nowrap }
.host { display: inline-block; font: 12px ui-monospace, monospace; color: var(--link); border: 1px solid var(--line); border-radius: .3rem; padding: 0 .35rem; margin-right: .4rem }
.warning { color: var(--wait) } .warning::before { content: 'warning: '; font-weight: 600 } .result { border-left: 3px solid var(--ok) }
ins { color: var(--ok); text-decoration: none } del { color: var(--bad); text-decoration: none }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1rem; margin: 0 } dd { margin: 0 } dd ul { margin: 0; padding-left: 1.1rem }
.timeline { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem }
.lane, .ticks { display: grid; grid-template-columns: minmax(4rem, 10rem) 1fr; gap: .6rem; align-items: center }
.lane > span { font: 12px ui-monospace, monospace; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.lane > div { position: relative; height: 1.5rem; border-bottom: 1px solid var(--line) }
.lane i { position: absolute; top: .25rem; height: 1rem; min-width: 2px; border-radius: 2px; background: var(--ok); opacity: .75 }
.lane i.step { background: var(--link) } .lane i.unchanged, .lane i.answered { background: var(--same) } .lane i.failed, .lane i.aborted { background: var(--bad); opacity: 1 }
.lane i.window, em.window { background: var(--window) } em.window { color: #fff; border-radius: .3rem; padding: 0 .35rem; font-size: .8rem }
.lane i:hover { opacity: 1; outline: 2px solid var(--ink) } .ticks > div { display: flex; justify-content: space-between; font-size: .75rem }
@media (max-width: 40rem) { body { padding: .6rem } .lane, .ticks { grid-template-columns: 4.5rem 1fr } dl { grid-template-columns: minmax(0, 1fr) } details.task { padding-left: .5rem } }
@media print { pre { max-height: none } }
`
