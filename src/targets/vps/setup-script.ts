/**
 * What root has to do once for a host, as one script that can be read before it is run, and run again at any time:
 * packages, the include of sites, the three commands of nginx that the account may run, TLS. Pure.
 */
import { quote } from '../../shell/index.ts'
import type { VpsContext } from './context.ts'
import type { HostFacts } from './facts.ts'

/** Where root keeps what turns TLS on for a domain; the site's file includes it where it is there. */
export const tlsDirectory = '/etc/nginx/slipway'

const packagesFor = ({ deployment, config }: Pick<VpsContext, 'deployment' | 'config'>): string[] => {
  const kinds = Object.values(deployment.app.databases).map((each) => each.kind)
  return [
    'rsync',
    'python3',
    ...(deployment.services === 'supervisor' ? ['supervisor'] : []),
    ...(config.domains.provider === 'nginx' ? ['nginx', 'certbot'] : []),
    ...(kinds.includes('postgres') ? ['postgresql-client'] : []),
    ...(kinds.includes('mysql') ? ['mariadb-client'] : []),
  ]
}

export function setupScript(
  context: Pick<VpsContext, 'deployment' | 'config'>,
  facts: Pick<HostFacts, 'home' | 'user' | 'app'>,
): string {
  const { deployment, config } = context
  const { user, home } = facts
  const nginx = config.domains.provider === 'nginx'
  return `#!/bin/sh
# Once, as root, on ${deployment.hosts.join(' and ')}: what ${user} can't do for itself. It may be run again.
# DRY_RUN=1 sh setup.sh says what it would do.
set -eu
run() { if [ -n "\${DRY_RUN:-}" ]; then echo "would run: $*"; else "$@"; fi; }
# put FILE MODE: standard input into the file, by a rename.
put() {
  if [ -n "\${DRY_RUN:-}" ]; then echo "would write $1:"; sed 's/^/  /'; return; fi
  mkdir -p "$(dirname "$1")"; cat >"$1.new"; chmod "$2" "$1.new"; mv -f "$1.new" "$1"
}

run apt-get install -y ${packagesFor(context).join(' ')}
${
  deployment.systemSupervisor
    ? `# Programs of ${user} under the system's supervisord. Whoever may write there can have it run anything, as anyone.
run setfacl -m u:${quote(user)}:rwx ${deployment.systemSupervisor.conf}
# And in /etc/supervisor/supervisord.conf, below [unix_http_server]: chown=${user}:${user}
`
    : deployment.services === 'supervisor'
      ? `# The system's own supervisord is not needed: each release has one.
run systemctl disable --now supervisor || :
`
      : ''
}# Processes go on when ${user} logs out, and come back after a reboot.
run loginctl enable-linger ${quote(user)} || :
${nginx ? nginxPart(user, home) : ''}${nginx && deployment.domain !== undefined && !config.domains.options['certificate'] ? tlsPart(deployment.domain, facts.app.site(deployment.name), config.domains.options['email']) : ''}`
}

const nginxPart = (user: string, home: string): string => `
# Sites are files in the home of ${user}; nginx's workers have to reach the sockets there.
put /etc/nginx/conf.d/slipway.conf 644 <<'END'
include ${home}/.slipway/*/sites/*/nginx.conf;
END
run setfacl -m u:www-data:x ${quote(home)} 2>/dev/null || run chmod o+x ${quote(home)}
# These three and no other: with -c, nginx would be root's in the hands of whoever calls it.
put /etc/sudoers.d/slipway.new 440 <<'END'
${user.replace(/[^A-Za-z0-9_.-]/g, (char) => `\\${char}`)} ALL=(root) NOPASSWD: /usr/sbin/nginx -t, /usr/sbin/nginx -s reload, /usr/sbin/nginx -s reopen
END
# Names with a dot are not read by sudo: what it can't read never takes effect.
run visudo -c -f /etc/sudoers.d/slipway.new
run mv -f /etc/sudoers.d/slipway.new /etc/sudoers.d/slipway
run nginx -t
run systemctl reload nginx
`

/** certbot writes below /etc/letsencrypt alone; the site's own file is never edited by it. */
function tlsPart(domain: string, siteDir: string, email: string | undefined): string {
  const account = email === undefined ? '--register-unsafely-without-email' : `-m ${quote(email)}`
  return `
# TLS: once ${domain} leads here and its site is there (init_staging_app or a promotion makes it), a certificate is
# issued; certbot's own timer renews it, and reloads nginx after that.
if [ -d ${quote(`${siteDir}/acme`)} ]; then
  run certbot certonly --webroot -w ${quote(`${siteDir}/acme`)} -d ${quote(domain)} --cert-name ${quote(domain)} \\
    --non-interactive --agree-tos ${account} --keep-until-expiring --deploy-hook 'nginx -t && nginx -s reload'
  ipv6=
  [ ! -e /proc/net/if_inet6 ] || ipv6='listen [::]:443 ssl;'
  put ${quote(`${tlsDirectory}/${domain}.conf`)} 644 <<END
listen 443 ssl;
$ipv6
ssl_certificate /etc/letsencrypt/live/${domain}/fullchain.pem;
ssl_certificate_key /etc/letsencrypt/live/${domain}/privkey.pem;
set \\$slipway_tls yes;
END
  run nginx -t
  run nginx -s reload
else
  echo 'There is no site of ${domain} yet: run this again for its certificate when there is.'
fi
`
}
