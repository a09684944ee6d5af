"""The pages, as text."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1d2a26; --paper: #f6f4ee; --card: #fffdf8; --line: #d9d3c3; --accent: #b4451f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e6dc; --paper: #171c1a; --card: #1f2623; --line: #37413c; --accent: #f0875f; } }
* { box-sizing: border-box; } body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.5 Georgia, serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; } h1 { font-size: 2rem; margin: 0 0 .2rem; }
a { color: var(--accent); } .lead { opacity: .8; margin-top: 0; } .banner { background: var(--accent); color: #fff; padding: .4rem 1.2rem; text-align: center; }
.card { display: flex; gap: 1.2rem; align-items: baseline; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.2rem; margin: .7rem 0; }
.km { font-size: 1.7rem; min-width: 4.6rem; color: var(--accent); font-weight: bold; } .km small { font-size: .8rem; } .where { flex: 1; } .riders { opacity: .75; white-space: nowrap; }
form { display: grid; gap: .6rem; max-width: 24rem; } input, button { font: inherit; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: inherit; }
button { background: var(--accent); border-color: var(--accent); color: #fff; cursor: pointer; } table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
footer { margin-top: 3rem; font-size: .85rem; opacity: .65; border-top: 1px solid var(--line); padding-top: .6rem; }
"""


def page(settings, heading: str, body: str) -> str:
    banner = f'<div class="banner">{escape(settings.banner)}</div>' if settings.banner else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(heading)} · {escape(settings.title)}</title><style>{STYLE}</style></head>
<body>{banner}<main><h1>{escape(heading)}</h1>
{body}
<footer>Release {escape(settings.release)} · <a href="/up">health</a> · <a href="/riders.json">riders as JSON</a></footer>
</main></body></html>
"""


def brevets(settings, rows, club_link: str) -> str:
    cards = "".join(
        f"""<div class="card"><div class="km">{row['distance_km']}<small> km</small></div>
<div class="where"><a href="/brevets/{row['id']}">{escape(row['name'])}</a><br>{escape(row['starts_on'])}, {escape(row['start_place'])}</div>
<div class="riders">{row['riders']} riders</div></div>"""
        for row in rows
    )
    lead = f'<p class="lead">Long rides, self-supported. Pick one and put your name down. <a href="{escape(club_link)}">About the club</a></p>'
    return page(settings, settings.title, lead + cards)


def brevet(settings, row, riders, total: int) -> str:
    names = "".join(f"<tr><td>{escape(r['name'])}</td><td>{escape(r['registered_at'])}</td></tr>" for r in riders)
    more = f"<p>… and {total - len(riders)} more.</p>" if total > len(riders) else ""
    listed = f"<table><tr><th>Rider</th><th>Registered</th></tr>{names}</table>{more}" if total else "<p>Nobody yet. Be the first.</p>"
    body = f"""<p class="lead">{row['distance_km']} km on {escape(row['starts_on'])}, from {escape(row['start_place'])}. <a href="/">All brevets</a></p>
<form method="post" action="/brevets/{row['id']}/riders"><input name="name" placeholder="Your name" required maxlength="100">
<input name="email" type="email" placeholder="E-mail for the confirmation" required maxlength="200"><button>Register</button></form>
<h2>{total} registered</h2>{listed}"""
    return page(settings, row["name"], body)


def admin(settings, riders: int, mails: dict) -> str:
    rows = "".join(f"<tr><td>{escape(state)}</td><td>{count}</td></tr>" for state, count in sorted(mails.items()))
    return page(settings, "Administration", f"<p>{riders} riders.</p><table><tr><th>Mails</th><th></th></tr>{rows}</table>")
