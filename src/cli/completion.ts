/** `slipway completion SHELL`: the scripts that teach shells to ask `tasks --complete`. */
import { UsageError } from '../events/errors.ts'
import { didYouMean } from '../suggest.ts'
import type { Io } from './io.ts'

const bash = `# Completion of tasks and slipway for bash. In ~/.bashrc: eval "$(slipway completion bash)"
_slipway_complete() {
  local line=\${COMP_LINE:0:COMP_POINT} cur before IFS=$' \\t\\n'
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  cur=\${words[\${#words[@]}-1]}
  IFS=$'\\n'
  COMPREPLY=($("\${words[0]}" --complete -- "\${words[@]:1}" 2>/dev/null))
  # Bash breaks words at some characters: what stands before the last of them is there already.
  before=\${cur%"\${cur##*[\${COMP_WORDBREAKS//[^:=]/}]}"}
  [[ $COMP_WORDBREAKS == *[:=]* && -n $before ]] && COMPREPLY=("\${COMPREPLY[@]#"$before"}")
  [[ \${#COMPREPLY[@]} -gt 0 && \${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _slipway_complete tasks
complete -o default -F _slipway_complete slipway
`

const zsh = `#compdef tasks slipway
# Completion of tasks and slipway for zsh. In ~/.zshrc: eval "$(slipway completion zsh)"
_slipway_complete() {
  local line value shown
  local -i longest=0
  local -a lines full open full_about open_about
  lines=("\${(@f)$("\${words[1]}" --complete --about -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "\${lines[@]}"; do
    value=\${line%%$'\\t'*}
    (( \${#value} > longest )) && longest=\${#value}
  done
  for line in "\${lines[@]}"; do
    [[ -z $line ]] && continue
    value=\${line%%$'\\t'*}
    shown=$value
    [[ $line == *$'\\t'* ]] && shown="\${(r:longest:)value}  -- \${line#*$'\\t'}"
    if [[ $value == *[:=] ]]; then
      open+=("$value"); open_about+=("$shown")
    else
      full+=("$value"); full_about+=("$shown")
    fi
  done
  (( \${#full} + \${#open} )) || { _files; return }
  (( \${#open} )) && compadd -S '' -l -d open_about -- "\${open[@]}"
  (( \${#full} )) && compadd -l -d full_about -- "\${full[@]}"
}
compdef _slipway_complete tasks slipway
`

const fish = `# Completion of tasks and slipway for fish. In ~/.config/fish/config.fish: slipway completion fish | source
function __slipway_complete
    set -l words (commandline -opc)
    $words[1] --complete --about -- $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c tasks -f -a '(__slipway_complete)'
complete -c tasks -s f -l file -rF -d 'The task file; otherwise the nearest tasks.ts, here or upward'
complete -c tasks -s S -l ssh-config -rF -d 'The ssh configuration (also SLIPWAY_SSH_CONFIG)'
complete -c slipway -f -a '(__slipway_complete)'
`

const completionScripts: Readonly<Record<string, string>> = { bash, zsh, fish }

export function completionCommand(shell: string | undefined, io: Io): number {
  const name = shell ?? io.env['SHELL']?.split('/').at(-1) ?? ''
  const script = completionScripts[name]
  if (script === undefined) {
    const names = Object.keys(completionScripts)
    throw new UsageError('unknown-shell', name ? `there is no completion for "${name}"` : 'which shell?', {
      next: didYouMean(name, names) ?? `There is one for ${names.join(', ')}: slipway completion bash`,
    })
  }
  io.out(script)
  return 0
}
