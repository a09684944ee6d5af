import { defineConfig } from 'vitepress'

const page = (text: string, link: string) => ({ text, link })

export default defineConfig({
  title: 'Slipway',
  description: 'Remote tasks in TypeScript: deploy over SSH or to Heroku',
  cleanUrls: true,
  srcExclude: ['decisions/**'],
  // A picture or a page that is not there breaks the build.
  ignoreDeadLinks: false,
  markdown: {
    languageAlias: { eta: 'html', console: 'shellscript' },
    config: (md) => {
      // Settings have {{ … }}, which in a sentence would be the site's own template language.
      md.renderer.rules.text = (tokens, index) =>
        md.utils.escapeHtml(tokens[index].content).replaceAll('{{', '&#123;&#123;')
      md.renderer.rules.code_inline = (tokens, index) =>
        `<code v-pre>${md.utils.escapeHtml(tokens[index].content)}</code>`
    },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      {
        text: 'Guide',
        items: [
          page('The first five minutes', '/guide/first-five-minutes'),
          page('The sandbox', '/guide/sandbox'),
          page('The task file', '/guide/task-file'),
          page('Hosts', '/guide/hosts'),
          page('Deployments', '/guide/deployments'),
          page('Databases', '/guide/databases'),
          page('Services', '/guide/services'),
          page('Promotion', '/promotion'),
          page('Heroku', '/heroku'),
          page('Output', '/guide/output'),
          page('CI', '/guide/ci'),
          page('Security', '/guide/security'),
          page('Testing', '/guide/testing'),
        ],
      },
      {
        text: 'Look up',
        items: [
          page('config/deploy.ini', '/guide/configuration'),
          page('Troubleshooting', '/troubleshooting'),
          page('Events', '/guide/events'),
          page('Reference', '/reference/'),
          page('Performance', '/performance'),
        ],
      },
      {
        text: 'Moving from',
        items: [
          page('Fabric', '/moving-from/fabric'),
          page('Capistrano', '/moving-from/capistrano'),
          page('Ansible', '/moving-from/ansible'),
          page('Kamal', '/moving-from/kamal'),
          page('The heroku command', '/moving-from/heroku-cli'),
        ],
      },
    ],
  },
})
